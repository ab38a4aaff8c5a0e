"""mdtest in Python: its flags and their meaning, its tree of directories, its table."""
