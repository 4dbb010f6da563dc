"""Shared types and helpers, independent of transport and storage."""
