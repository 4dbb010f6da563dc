"""How many durable things, such as consumers and schedules, a project and an agent may have."""

from __future__ import annotations

from collections.abc import Collection

from cco_sidecar.core.errors import Kind, SidecarError
from cco_sidecar.core.principal import OPERATOR, SIDECAR

MAX_PER_PROJECT = 1000
MAX_PER_AGENT = 32


def check(creators: Collection[str], created_by: str, what: str, code: str) -> None:
    """Raises SidecarError (``code``) if there may not be one more. ``creators``: who created each that the project has;
    ``what``: their name in the plural."""
    full = ""
    if len(creators) >= MAX_PER_PROJECT:
        full = f"the project has {MAX_PER_PROJECT:,} {what}"
    elif created_by not in (OPERATOR, SIDECAR) and sum(each == created_by for each in creators) >= MAX_PER_AGENT:
        full = f"{created_by} has {MAX_PER_AGENT} {what}"
    if full:
        raise SidecarError(Kind.RATE_LIMITED, code, f"{full}, which is the maximum; delete one first")
