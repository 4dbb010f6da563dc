"""Persistence: small Protocols in `base`, and their implementations."""
