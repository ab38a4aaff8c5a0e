"""What a daemon does with each operation: one module a family, thin over the storage."""
