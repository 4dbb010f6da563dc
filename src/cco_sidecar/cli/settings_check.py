"""Validates settings as the start does, without opening a storage, a port or a database. Imports most of the server."""

from __future__ import annotations

from cco_sidecar.auth.limits import RateLimits
from cco_sidecar.core.settings import Settings
from cco_sidecar.runners.presets import Runners
from cco_sidecar.services.handover.rules import Plan
from cco_sidecar.storage.trust import load_agent_types
from cco_sidecar.supervision.budget import Budget


def check(settings: Settings) -> None:
    """Raises SettingsError."""
    types = load_agent_types(settings.project_root)
    Runners(settings, types)
    Budget.of(Plan.of(settings.handover, types).limits)
    RateLimits(settings.rate_limits)
