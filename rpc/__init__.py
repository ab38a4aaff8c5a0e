"""Frames, messages, transports, connections, pool and server: knows nothing of files."""
