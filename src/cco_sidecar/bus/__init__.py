"""The event bus: an append-only log plus wake-ups. Publish, follow, filter, retention."""
