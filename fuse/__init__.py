"""The mount: pyfuse3 operations on top of the client library."""
