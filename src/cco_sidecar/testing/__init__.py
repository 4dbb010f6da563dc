"""Pytest fixtures to test agents with a real sidecar: ``pytest_plugins = ["cco_sidecar.testing"]``.

Requires the extra ``cco-sidecar[testing]``.
"""

from cco_sidecar.testing.fixtures import agent_token, scripted_agent, sidecar, sidecar_root

__all__ = ["agent_token", "scripted_agent", "sidecar", "sidecar_root"]
