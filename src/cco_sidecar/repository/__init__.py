"""Reads untrusted repositories: nothing in one can start a program, block a caller or exhaust memory."""
