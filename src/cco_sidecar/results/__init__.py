"""ResultService."""
