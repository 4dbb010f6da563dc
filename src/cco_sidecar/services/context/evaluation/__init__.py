"""Measures how well contexts of a repository find what its own commits changed."""
