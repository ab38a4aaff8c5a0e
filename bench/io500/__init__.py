"""IO500 in Python: its twelve phases, its parameters, its score, its rules."""
