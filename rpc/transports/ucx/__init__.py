"""The `ucx` engine: links over the system's UCX, with RDMA where there is hardware."""
