"""Webhooks: durable consumers whose worker is the sidecar."""
