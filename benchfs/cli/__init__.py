"""The `benchfs` command: one file a command."""
