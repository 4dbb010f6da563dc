"""Validates settings as the start does, without opening a storage, a port or a database. Imports most of the server."""

from __future__ import annotations

from collections.abc import Mapping

from cco_sidecar.auth.limits import RateLimits
from cco_sidecar.core.environment import LIFELINE, is_service_link
from cco_sidecar.core.errors import SettingsError
from cco_sidecar.core.settings import DECLARED, ENVIRONMENT, Settings
from cco_sidecar.core.suggestions import did_you_mean
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


def check_environment(environment: Mapping[str, str]) -> None:
    """Raises SettingsError for a variable that looks like a setting but is none."""
    known = {f"{ENVIRONMENT}{name.upper()}" for name in DECLARED}
    for name, text in sorted(environment.items()):
        if name.startswith(ENVIRONMENT) and name not in {*known, LIFELINE} and not is_service_link(name, text):
            raise SettingsError(f"unknown variable {name}{did_you_mean(name, known)}")
