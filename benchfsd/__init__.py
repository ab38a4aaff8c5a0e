"""The daemon: one process, one event loop, one data directory."""
