"""Which parts of a repository matter for a task."""
