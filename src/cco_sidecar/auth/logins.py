"""Codes that sign a browser in to the dashboard, each once."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from typing import NamedTuple

from cco_sidecar.core import security_log
from cco_sidecar.core.clock import Clock
from cco_sidecar.core.errors import invalid_token
from cco_sidecar.core.principal import Principal

CODE_SECONDS = 120
# The most codes that wait, of the operator and of browser sessions each; the oldest is forgotten first.
_WAITING = 50


class LoginCode(NamedTuple):
    """Times are in Unix seconds. ``signed_in_at`` is when the person proved to be the operator; a further tab of a
    browser inherits it."""

    code: str
    expires_at: float
    signed_in_at: float


class Logins:
    """Keeps the codes in memory: a restart of the sidecar forgets them. Not thread-safe."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._by_operator: OrderedDict[str, LoginCode] = OrderedDict()
        self._by_browsers: OrderedDict[str, LoginCode] = OrderedDict()

    def create(self, principal: Principal) -> LoginCode:
        """Makes a code for the operator, or for another tab of a browser session."""
        now = self._clock.seconds()
        made = LoginCode(secrets.token_urlsafe(32), now + CODE_SECONDS, principal.signed_in_at or now)
        waiting = self._by_browsers if principal.is_browser else self._by_operator
        waiting[made.code] = made
        if len(waiting) > _WAITING:
            waiting.popitem(last=False)
        security_log.record("login_code_created", by="dashboard" if principal.is_browser else "operator")
        return made

    def redeem(self, code: str) -> LoginCode:
        """Returns what a code stands for, and forgets it. Raises SidecarError (AUTH_001)."""
        known = self._by_operator.pop(code, None) or self._by_browsers.pop(code, None)
        if known is None or known.expires_at <= self._clock.seconds():
            security_log.refused("login_refused")
            raise invalid_token(
                "the login link was used before, or is older than two minutes; open the dashboard again with "
                "'cco dashboard'"
            )
        security_log.record("signed_in")
        return known
