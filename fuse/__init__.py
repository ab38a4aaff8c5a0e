"""The mount: pyfuse3 operations on top of the client library, by inode number.

`operations` translates requests, `session` mounts and serves, `mounts` knows the mounts of this
host and ends them (without pyfuse3), `__main__` is the process that serves one mount.
"""
