"""ConsumerService."""
