"""SystemService: health and status."""
