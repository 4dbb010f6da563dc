"""Pytest fixtures to test agents against a real sidecar: ``pytest_plugins = ["cco_sidecar.testing"]``.

Needs the extra ``cco-sidecar[testing]``.
"""

from cco_sidecar.testing.fixtures import agent_token, scripted_agent, sidecar, sidecar_root

__all__ = ["agent_token", "scripted_agent", "sidecar", "sidecar_root"]
