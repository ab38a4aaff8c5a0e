"""What is measured: BenchFS by its own client, any path of this host, or memory alone."""
