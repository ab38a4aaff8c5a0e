"""BenchFS beside GlusterFS, MooseFS and the bare disk, on the same disk in the same minutes."""
