"""The `cco` command: one file a command group."""
