"""Hand-over rules: events and results that start the next agents."""
