"""A run's results as one page with plots. Needs matplotlib: extra `bench`."""
