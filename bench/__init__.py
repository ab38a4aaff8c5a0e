"""Benchmarks of BenchFS, and of the machine it runs on so that figures can be compared."""
