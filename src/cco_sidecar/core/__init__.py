"""Words that everyone shares: no I/O, no transport."""
