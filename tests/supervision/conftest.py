"""Agents without a sandbox."""

from tests.support.unconfined import scripted_agent, unconfined

__all__ = ["scripted_agent", "unconfined"]
