"""Durable consumers."""
