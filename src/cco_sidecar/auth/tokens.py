"""JSON Web Tokens (RFC 7519): minting, verification, leases, refresh and revocation."""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
import warnings
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import jwt

from cco_sidecar.auth.claims import issued_at, reason_of
from cco_sidecar.auth.keys import SigningKey
from cco_sidecar.core import security_log
from cco_sidecar.core.agent_types import PERMISSIONS, AgentType, AgentTypes
from cco_sidecar.core.clock import Clock
from cco_sidecar.core.errors import SidecarError, expired_token, invalid_token, permission_denied
from cco_sidecar.core.principal import OPERATOR, RUN_AGENTS, RUNNER, Principal
from cco_sidecar.storage.base import RevocationStore

log = logging.getLogger(__name__)

ISSUER = "cco-sidecar"
AUDIENCE = "cco-sidecar"
TTL_SECONDS = 3600
OPERATOR_TTL_SECONDS = 30 * 86_400
RUNNER_TTL_SECONDS = OPERATOR_TTL_SECONDS
REFRESH_WINDOW_SECONDS = 300
# How long a browser session can be renewed, from the login on.
BROWSER_SESSION_SECONDS = 12 * 3600
# The tolerated clock skew between two machines. It applies to `iat` and `nbf`, never to `exp`.
SKEW_SECONDS = 5
_CACHED = 4096
_FOLLOW_SECONDS = 1.0
_REQUIRED = ["sub", "agent_type", "project_id", "permissions", "iat", "exp", "jti", "iss", "aud"]


class Minted(NamedTuple):
    token: str
    principal: Principal


class Tokens:
    """Mints, verifies and revokes tokens.

    Verified signatures are cached by the token's text. Revocation is checked on every call, and so is expiry unless the
    subject is leased. Not thread-safe.
    """

    def __init__(self, key: SigningKey, revocations: RevocationStore, agent_types: AgentTypes, clock: Clock) -> None:
        self._key = key
        self._revocations = revocations
        self._types = agent_types
        self._clock = clock
        self._verified: OrderedDict[str, tuple[Principal, float]] = OrderedDict()
        # Revoked ids, by claim. These need no time: the end of a run must not depend on a clock.
        self._revoked: dict[str, set[str]] = {"jti": set(), "sid": set()}
        self._revoked_sub: dict[str, float] = {}
        self._guards: dict[asyncio.Timeout, Principal] = {}
        self._leased: set[str] = set()
        self._listeners: list[Callable[[str], None]] = []
        # The number of agents that got their first token since the start.
        self.minted = 0
        known, self._revision = revocations.load(clock.seconds())
        for revocation in known:
            self._remember(*revocation)
        if key.algorithm == "HS256":
            # The documentation uses a short secret; a startup log line says which length is safe.
            warnings.filterwarnings("ignore", category=jwt.InsecureKeyLengthWarning)

    @property
    def jwks(self) -> bytes:
        """The public half of the key as a JSON Web Key Set (RFC 7517); empty with HS256."""
        return self._key.jwks

    # -- minting ----------------------------------------------------------------------------------------

    def mint_agent(
        self,
        agent: AgentType,
        *,
        agent_id: str,
        project: str,
        issue: str,
        session: str = "",
        since: float = 0.0,
        ttl: int = TTL_SECONDS,
    ) -> Minted:
        """``session``: the run that the token ends with; empty for none. ``since``: that of the token that it renews.
        ``ttl`` is in seconds."""
        claims: dict[str, Any] = {
            "sub": agent_id,
            "agent_type": agent.type,
            "project_id": project,
            "issue_id": issue,
            "permissions": list(agent.permissions),
        } | ({"sid": session} if session else {})
        return self._mint(claims, ttl, since)

    def mint_operator(self) -> Minted:
        claims = {
            "sub": OPERATOR,
            "agent_type": OPERATOR,
            "project_id": "",
            "issue_id": "",
            "permissions": list(PERMISSIONS),
        }
        return self._mint(claims, OPERATOR_TTL_SECONDS)

    def mint_runner(
        self, runner_id: str, tags: Sequence[str] | None, *, since: float = 0.0, ttl: int = RUNNER_TTL_SECONDS
    ) -> Minted:
        """``tags``: those that the runner may have; None for any. ``since``: that of the token that it renews. ``ttl``
        is in seconds."""
        claims: dict[str, Any] = {
            "sub": runner_id,
            "agent_type": RUNNER,
            "project_id": "",
            "issue_id": "",
            "permissions": [RUN_AGENTS],
        } | ({"tags": list(tags)} if tags is not None else {})
        return self._mint(claims, ttl, since)

    def mint_browser(self, signed_in_at: float, session: str = "") -> Minted:
        """Mints the token of a browser session, a new one if ``session`` is empty. Raises SidecarError (AUTH_002) when
        the session is over."""
        left = int(signed_in_at + BROWSER_SESSION_SECONDS - self._clock.seconds())
        if left <= 0:
            raise expired_token("the browser session is over; sign in again with 'cco dashboard'")
        claims = {
            "sub": OPERATOR,
            "agent_type": OPERATOR,
            "project_id": "",
            "issue_id": "",
            "permissions": list(PERMISSIONS),
            "sid": session or f"browser-{secrets.token_hex(8)}",
            "auth_time": int(signed_in_at),
        }
        return self._mint(claims, min(TTL_SECONDS, left))

    def _mint(self, claims: dict[str, Any], ttl: int, since: float = 0.0) -> Minted:
        now = int(self._clock.seconds())
        # `iat` counts whole seconds; a token minted just after a revocation must not be covered by it.
        now = max(now, int(self._revoked_sub.get(claims["sub"], -1)) + 1)
        claims |= {
            "iat": now,
            "nbf": now,
            "exp": now + ttl,
            "jti": secrets.token_hex(16),
            "iss": ISSUER,
            "aud": AUDIENCE,
        } | ({"orig_iat": since} if since else {})
        headers = {"kid": self._key.key_id} if self._key.key_id else None
        token = jwt.encode(claims, self._key.signing, algorithm=self._key.algorithm, headers=headers)
        return Minted(token, self._principal(claims))

    # -- verifying --------------------------------------------------------------------------------------

    def verify(self, token: str) -> Principal:
        """Returns the token's principal.

        Raises SidecarError: AUTH_001 for an invalid or revoked token, AUTH_002 for an expired one.
        """
        known = self._verified.get(token)
        if known is None:
            known = self._decode(token)
            self._verified[token] = known
            if len(self._verified) > _CACHED:
                self._verified.popitem(last=False)
        self._verified.move_to_end(token)
        principal, issued = known
        if principal.subject not in self._leased:
            now = self._clock.seconds()
            if principal.expires_at <= now:
                self._verified.pop(token, None)
                raise expired_token()
            if issued > now + SKEW_SECONDS:
                raise invalid_token("the token is not valid yet; check that the clocks of both machines agree")
        self.require_unrevoked(principal)
        return principal

    def require_unrevoked(self, principal: Principal) -> None:
        """Raises SidecarError (AUTH_001)."""
        if self._is_revoked(principal):
            raise invalid_token("the token has been revoked")

    def read(self, token: str) -> Principal | None:
        """Returns the owner of a token, even if it is expired or revoked; None if this sidecar did not sign it."""
        try:
            return self._decode(token)[0]
        except SidecarError:
            return None

    def _decode(self, token: str) -> tuple[Principal, float]:
        try:
            claims = jwt.decode(
                token,
                self._key.verifying,
                algorithms=[self._key.algorithm],
                audience=AUDIENCE,
                issuer=ISSUER,
                # The callers check the times, with the injected clock.
                options={"require": _REQUIRED, "verify_exp": False, "verify_iat": False, "verify_nbf": False},
            )
            principal = self._principal(claims)
            issued = issued_at(claims)
        except (jwt.InvalidTokenError, TypeError, ValueError) as problem:
            raise invalid_token(f"invalid token: {reason_of(problem)}") from problem
        return principal, issued

    def _principal(self, claims: dict[str, Any]) -> Principal:
        agent_type = str(claims["agent_type"])
        operator = agent_type == OPERATOR
        agent = self._types.get(agent_type)
        return Principal(
            subject=str(claims["sub"]),
            agent_type=agent_type,
            group=agent.group if agent else "",
            project_id=str(claims["project_id"]),
            issue_id=str(claims.get("issue_id", "")),
            permissions=frozenset(map(str, claims["permissions"])),
            jti=str(claims["jti"]),
            session=str(claims.get("sid", "")),
            since=min(issued_at(claims), float(claims.get("orig_iat", math.inf))),
            expires_at=float(claims["exp"]),
            operator=operator,
            signed_in_at=float(claims.get("auth_time", 0)),
            tags=tuple(map(str, claims["tags"])) if "tags" in claims else None,
        )

    def _is_revoked(self, principal: Principal) -> bool:
        if principal.jti in self._revoked["jti"] or principal.session in self._revoked["sid"]:
            return True
        return self._revoked_sub.get(principal.subject, -1) >= principal.since

    # -- leases ---------------------------------------------------------------------------------------

    def lease(self, agent_id: str) -> None:
        """Suspends expiry for an agent's tokens until ``release``.

        A supervised agent may keep the token from its environment for as long as its process runs.
        """
        self._leased.add(agent_id)

    def release(self, agent_id: str) -> None:
        """Ends the lease."""
        self._leased.discard(agent_id)

    # -- refreshing and revoking -------------------------------------------------------------------

    async def refresh(self, principal: Principal) -> Minted:
        """Replaces a token in its last five minutes and revokes the old one. Raises SidecarError: AUTH_003, AUTH_002 at
        the end of a browser session."""
        agent = self._types.get(principal.agent_type)
        if agent is None and not principal.is_browser:
            raise permission_denied("only agent tokens can be refreshed; the sidecar renews the operator's itself")
        now = self._clock.seconds()
        left = principal.expires_at - now
        if left > REFRESH_WINDOW_SECONDS:
            raise permission_denied(
                f"the token is valid for another {int(left)} seconds; it can be refreshed in its last "
                f"{REFRESH_WINDOW_SECONDS} seconds",
                refreshable_in_seconds=int(left - REFRESH_WINDOW_SECONDS) + 1,
            )
        if agent is None:
            minted = self.mint_browser(principal.signed_in_at, principal.session)
        else:
            minted = self.mint_agent(
                agent,
                agent_id=principal.subject,
                project=principal.project_id,
                issue=principal.issue_id,
                session=principal.session,
                since=principal.since,
            )
        # Keep the revocation past the token's own expiry: a leased token does not expire.
        await self._revoke("jti", principal.jti, now, now + OPERATOR_TTL_SECONDS)
        return minted

    async def revoke_token(self, jti: str) -> None:
        now = self._clock.seconds()
        await self._revoke("jti", jti, now, now + OPERATOR_TTL_SECONDS)

    async def revoke_session(self, session: str) -> None:
        """Revokes every token of a run. Raises SidecarError (STR_001)."""
        if not session:
            raise ValueError("a run has a session")
        now = self._clock.seconds()
        await self._revoke("sid", session, now, now + OPERATOR_TTL_SECONDS)

    async def revoke_agent(self, agent_id: str, session: str = "", until: float | None = None) -> None:
        """Revokes every token that the agent was issued up to now, or ``until`` an earlier time, in seconds.

        With ``session``, revokes every token of that run, even those that a clock set back since then dates into the
        future. Raises SidecarError (AUTH_003) for the operator.
        """
        if agent_id == OPERATOR:
            raise permission_denied("the operator token cannot be revoked; stop the sidecar and delete signing-key.pem")
        now = self._clock.seconds()
        # A token minted just after an earlier revocation may carry an `iat` in the next second.
        at = max(now, self._revoked_sub.get(agent_id, -1) + 1) if self._dated_ahead(agent_id, now) else now
        kept = now + OPERATOR_TTL_SECONDS
        revoking = [self._revoke("sub", agent_id, at if until is None else min(until, now), kept)]
        if session:
            revoking.append(self._revoke("sid", session, at, kept))
        await asyncio.gather(*revoking)

    def _dated_ahead(self, agent_id: str, now: float) -> bool:
        return self._revoked_sub.get(agent_id, -1) >= int(now)

    async def _revoke(self, kind: str, value: str, at: float, until: float) -> None:
        security_log.record("revoked", kind=kind, value=value)
        # Takes effect immediately; is on disk before the call returns.
        self._remember(kind, value, at)
        self._end_revoked_calls()
        await self._revocations.revoke(kind, value, at, until)

    def listen(self, listener: Callable[[str], None]) -> None:
        """Calls ``listener(agent_id)`` when another process has revoked the tokens of an agent, such as at its end. It
        must not block or raise."""
        self._listeners.append(listener)

    async def follow_revocations(self) -> None:
        """Applies the revocations of other processes on the same database. Runs until cancelled."""
        while True:
            await asyncio.sleep(_FOLLOW_SECONDS)
            try:
                new, self._revision = await self._revocations.since(self._revision)
            except SidecarError as problem:
                log.warning("cannot read revocations that another process made, will retry: %s", problem)
                continue
            for revocation in new:
                if revocation.kind == "sub" and self._revoked_sub.get(revocation.value, -1) < revocation.at:
                    for listener in self._listeners:
                        listener(revocation.value)
                self._remember(*revocation)
            if new:
                self._end_revoked_calls()

    def _end_revoked_calls(self) -> None:
        for guard, principal in list(self._guards.items()):
            # asyncio.Timeout raises RuntimeError when an expired timeout is rescheduled.
            if self._is_revoked(principal) and not guard.expired():
                guard.reschedule(asyncio.get_running_loop().time())

    def _remember(self, kind: str, value: str, at: float) -> None:
        if not value:
            # Every token without a session would be revoked with it.
            return
        if kind == "sub":
            self._revoked_sub[value] = max(at, self._revoked_sub.get(value, at))
        else:
            self._revoked[kind].add(value)

    # -- open calls -----------------------------------------------------------------------------------

    @asynccontextmanager
    async def guard(self, token: str) -> AsyncIterator[None]:
        """Cancels its body when the token expires or is revoked, then raises the same SidecarError as ``verify``."""
        principal = self.verify(token)
        leased = principal.subject in self._leased
        left = None if leased else principal.expires_at - self._clock.seconds()
        try:
            async with asyncio.timeout(left) as limit:
                self._guards[limit] = principal
                try:
                    yield
                finally:
                    del self._guards[limit]
        except TimeoutError:
            self.verify(token)
            raise expired_token() from None

    @asynccontextmanager
    async def guard_vouched(self, principal: Principal) -> AsyncIterator[None]:
        """The same for a caller of another sidecar, which watches the expiry of its token."""
        self.require_unrevoked(principal)
        try:
            async with asyncio.timeout(None) as limit:
                self._guards[limit] = principal
                try:
                    yield
                finally:
                    del self._guards[limit]
        except TimeoutError:
            raise invalid_token("the token has been revoked") from None
