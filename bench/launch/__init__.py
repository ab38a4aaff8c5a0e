"""The processes of a benchmark: local ones, or ranks that an MPI launcher started."""
