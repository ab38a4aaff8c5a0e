"""IOR in Python: its flags and their meaning, its table, its JSON."""
