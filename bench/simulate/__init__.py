"""Clusters of any size in one process: real nodes and clients, links in memory, virtual time."""
