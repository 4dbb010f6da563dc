"""Decides which parts of a repository matter for a task."""
