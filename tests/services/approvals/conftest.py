"""Agents that do what a test says, under the module's sidecar."""

from cco_sidecar.testing.fixtures import scripted_agent

__all__ = ["scripted_agent"]
