"""The `cco` command, with one module per command group."""
