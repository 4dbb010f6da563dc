"""RunnerService."""
