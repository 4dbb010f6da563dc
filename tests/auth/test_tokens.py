"""Tokens on a clock that the test moves."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization

from cco_sidecar.auth.keys import SigningKey
from cco_sidecar.auth.tokens import REFRESH_WINDOW_SECONDS, SKEW_SECONDS, Minted, Tokens
from cco_sidecar.core.agent_types import AgentTypes, Source
from cco_sidecar.core.clock import Clock
from cco_sidecar.core.errors import Kind, SettingsError, SidecarError
from cco_sidecar.storage.base import Revocation

START = 1_800_000_000
SECRET = "a-shared-secret-of-more-than-thirty-two-bytes"
TYPES = AgentTypes(
    [
        Source.of(
            "test",
            {
                "architect": {"type": "chief-architect", "name": "Architect", "role": "decides"},
                "codingAgents": [{"type": "python-specialist", "name": "Python", "role": "writes"}],
                "documentationAgents": [{"type": "technical-writer", "name": "Writer", "role": "explains"}],
            },
            trusted=True,
        )
    ]
)


class ManualClock(Clock):
    """Stands still until the test moves it."""

    def __init__(self) -> None:
        self.now = float(START)

    def micros(self) -> int:
        return round(self.now * 1_000_000)


class Revocations:
    """An in-memory RevocationStore."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], tuple[float, float]] = {}

    async def revoke(self, kind: str, value: str, at: float, until: float) -> None:
        self.kept[kind, value] = (at, until)

    async def since(self, revision: int) -> tuple[Sequence[Revocation], int]:
        return self.load(0.0)

    def load(self, now: float) -> tuple[Sequence[Revocation], int]:
        found = [Revocation(kind, value, at) for (kind, value), (at, until) in self.kept.items() if until > now]
        return found, len(self.kept)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def revocations() -> Revocations:
    return Revocations()


@pytest.fixture
def tokens(clock: ManualClock, revocations: Revocations) -> Tokens:
    return Tokens(SigningKey.from_secret(SECRET), revocations, TYPES, clock)


@pytest.fixture(scope="module")
def own_key(tmp_path_factory: pytest.TempPathFactory) -> SigningKey:
    return SigningKey.from_file(tmp_path_factory.mktemp("key") / "signing-key.pem")


def mint(tokens: Tokens, agent_id: str = "agent-1", ttl: int = 3600) -> Minted:
    return tokens.mint_agent(TYPES["python-specialist"], agent_id=agent_id, project="p", issue="i", ttl=ttl)


def refused(tokens: Tokens, token: str, code: str) -> str:
    with pytest.raises(SidecarError) as caught:
        tokens.verify(token)
    assert (caught.value.kind, caught.value.code) == (Kind.UNAUTHENTICATED, code), caught.value.message
    return caught.value.message


def claims(**more: Any) -> dict[str, Any]:
    """The claims of a token that is valid now."""
    return {
        "sub": "agent-1",
        "agent_type": "python-specialist",
        "project_id": "p",
        "issue_id": "i",
        "permissions": ["read_context"],
        "iat": START,
        "nbf": START,
        "exp": START + 3600,
        "jti": "one",
        "iss": "cco-sidecar",
        "aud": "cco-sidecar",
    } | more


def signed(content: dict[str, Any]) -> str:
    return jwt.encode(content, SECRET, algorithm="HS256")


def forge_token(header: dict[str, Any], content: dict[str, Any], key: bytes | None) -> str:
    """A token as an attacker would build it: an HMAC with any key, or no signature."""

    def packed(data: bytes) -> bytes:
        return base64.urlsafe_b64encode(data).rstrip(b"=")

    body = packed(json.dumps(header).encode()) + b"." + packed(json.dumps(content).encode())
    signature = packed(hmac.new(key, body, hashlib.sha256).digest()) if key is not None else b""
    return (body + b"." + signature).decode()


class TestMinting:
    def test_an_agents_claims(self, tokens: Tokens) -> None:
        minted = mint(tokens)
        content = jwt.decode(minted.token, SECRET, algorithms=["HS256"], audience="cco-sidecar", options={"verify_exp": False, "verify_iat": False, "verify_nbf": False})  # fmt: skip
        assert (content["sub"], content["agent_type"], content["project_id"]) == ("agent-1", "python-specialist", "p")
        assert (content["issue_id"], content["iss"]) == ("i", "cco-sidecar")
        assert content["permissions"] == ["read_context", "write_results", "publish_events"]
        assert (content["iat"], content["nbf"], content["exp"]) == (START, START, START + 3600)
        assert tokens.verify(minted.token) == minted.principal
        assert minted.principal.group == "coding" and not minted.principal.operator

    def test_the_operators_claims(self, tokens: Tokens) -> None:
        principal = tokens.verify(tokens.mint_operator().token)
        assert principal.operator and principal.subject == "operator" and "spawn_agents" in principal.permissions

    def test_no_two_tokens_are_the_same(self, tokens: Tokens) -> None:
        assert len({mint(tokens).principal.jti for _ in range(100)}) == 100

    def test_a_token_signed_with_our_own_key(
        self, own_key: SigningKey, clock: ManualClock, revocations: Revocations
    ) -> None:
        tokens = Tokens(own_key, revocations, TYPES, clock)
        token = mint(tokens).token
        (published,) = json.loads(tokens.jwks)["keys"]
        assert jwt.get_unverified_header(token) == {"alg": "RS256", "typ": "JWT", "kid": published["kid"]}
        assert "d" not in published and published["alg"] == "RS256"
        assert tokens.verify(token).subject == "agent-1"

    def test_the_key_is_persisted_and_private(self, tmp_path: Path) -> None:
        path = tmp_path / "signing-key.pem"
        first = SigningKey.from_file(path)
        assert path.stat().st_mode & 0o777 == 0o600
        path.chmod(0o644)
        assert SigningKey.from_file(path).key_id == first.key_id
        assert path.stat().st_mode & 0o777 == 0o600
        path.write_text("not a key")
        with pytest.raises(SettingsError, match=r"cannot read signing key .*signing-key\.pem"):
            SigningKey.from_file(path)


class TestTime:
    def test_expiry_is_exact(self, tokens: Tokens, clock: ManualClock) -> None:
        token = mint(tokens, ttl=60).token
        clock.now += 59.999999
        tokens.verify(token)
        clock.now = START + 60
        refused(tokens, token, "AUTH_002")
        refused(tokens, token, "AUTH_002")

    def test_expiry_of_a_token_never_seen_before(self, tokens: Tokens) -> None:
        tokens.verify(signed(claims(iat=START - 10, nbf=START - 10, exp=START + 1)))
        refused(tokens, signed(claims(iat=START - 10, nbf=START - 10, exp=START)), "AUTH_002")

    @pytest.mark.parametrize("name", ["iat", "nbf"])
    def test_clock_skew(self, tokens: Tokens, clock: ManualClock, name: str) -> None:
        tokens.verify(signed(claims(**{name: START + SKEW_SECONDS})))
        early = signed(claims(**{name: START + SKEW_SECONDS + 1}))
        assert "check that the clocks of both machines agree" in refused(tokens, early, "AUTH_001")
        clock.now += 1
        tokens.verify(early)


class TestForgery:
    @pytest.mark.parametrize("text", ["", "x", "a.b.c", "..", "ż.ó.ł", "Bearer x"])
    def test_no_token_at_all(self, tokens: Tokens, text: str) -> None:
        refused(tokens, text, "AUTH_001")

    @pytest.mark.parametrize(
        "name", ["sub", "agent_type", "project_id", "permissions", "iat", "exp", "jti", "iss", "aud"]
    )
    def test_a_missing_claim_is_refused(self, tokens: Tokens, name: str) -> None:
        content = claims()
        del content[name]
        assert f"'{name}'" in refused(tokens, signed(content), "AUTH_001")

    @pytest.mark.parametrize(
        "wrong",
        [
            {"iss": "someone"},
            {"aud": "something"},
            {"exp": "soon"},
            {"exp": None},
            {"iat": []},
            {"nbf": "later"},
            {"permissions": None},
            {"permissions": 5},
        ],
    )
    def test_a_wrong_claim_is_refused(self, tokens: Tokens, wrong: dict[str, Any]) -> None:
        refused(tokens, signed(claims(**wrong)), "AUTH_001")

    def test_another_secret_is_refused(self, tokens: Tokens) -> None:
        token = jwt.encode(claims(), SECRET + "x", algorithm="HS256")
        message = refused(tokens, token, "AUTH_001")
        assert "signature" in message and token[:10] not in message

    def test_changed_claims_under_the_same_signature_are_refused(self, tokens: Tokens) -> None:
        head, body, signature = mint(tokens).token.split(".")
        content = json.loads(base64.urlsafe_b64decode(body + "=="))
        content["agent_type"] = "operator"
        forged = base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()
        refused(tokens, f"{head}.{forged}.{signature}", "AUTH_001")

    @pytest.mark.parametrize("name", ["none", "None", "NONE", "nOnE"])
    def test_algorithm_none_is_refused(self, tokens: Tokens, name: str) -> None:
        refused(tokens, forge_token({"alg": name, "typ": "JWT"}, claims(), None), "AUTH_001")

    def test_the_public_key_as_an_hmac_secret_is_refused(
        self, own_key: SigningKey, clock: ManualClock, revocations: Revocations
    ) -> None:
        tokens = Tokens(own_key, revocations, TYPES, clock)
        public = own_key.verifying.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        for key in (public, public.strip(), tokens.jwks):
            for algorithm in ("HS256", "RS256"):
                header = {"alg": algorithm, "typ": "JWT", "kid": own_key.key_id}
                refused(tokens, forge_token(header, claims(agent_type="operator"), key), "AUTH_001")
        refused(tokens, forge_token({"alg": "none", "typ": "JWT"}, claims(), None), "AUTH_001")

    def test_a_key_embedded_in_the_token_is_refused(
        self, own_key: SigningKey, tmp_path: Path, clock: ManualClock, revocations: Revocations
    ) -> None:
        tokens = Tokens(own_key, revocations, TYPES, clock)
        theirs = SigningKey.from_file(tmp_path / "theirs.pem")
        header = {"jwk": json.loads(theirs.jwks)["keys"][0], "kid": own_key.key_id, "jku": "http://127.0.0.1/jwks"}
        forged = jwt.encode(claims(), theirs.signing, algorithm="RS256", headers=header)
        refused(tokens, forged, "AUTH_001")

    @pytest.mark.parametrize("algorithm", ["HS384", "HS512"])
    def test_another_algorithm_with_our_secret_is_refused(self, tokens: Tokens, algorithm: str) -> None:
        secret = SECRET * 2
        with_ours = Tokens(SigningKey.from_secret(secret), Revocations(), TYPES, ManualClock())
        assert "algorithm" in refused(with_ours, jwt.encode(claims(), secret, algorithm=algorithm), "AUTH_001")

    def test_rs256_is_refused_when_a_secret_is_set(self, tokens: Tokens, own_key: SigningKey) -> None:
        refused(tokens, jwt.encode(claims(), own_key.signing, algorithm="RS256"), "AUTH_001")


class TestRefresh:
    async def test_refresh_only_in_the_last_five_minutes(self, tokens: Tokens, clock: ManualClock) -> None:
        minted = mint(tokens)
        clock.now += 3600 - REFRESH_WINDOW_SECONDS - 10
        with pytest.raises(SidecarError) as caught:
            await tokens.refresh(tokens.verify(minted.token))
        assert caught.value.code == "AUTH_003" and 10 <= caught.value.details["refreshable_in_seconds"] <= 11
        tokens.verify(minted.token)
        clock.now += 10
        await tokens.refresh(tokens.verify(minted.token))

    async def test_a_refresh_keeps_the_agent_and_revokes_the_old_token(
        self, tokens: Tokens, clock: ManualClock, revocations: Revocations
    ) -> None:
        minted, other = mint(tokens, ttl=200), mint(tokens)
        renewed = await tokens.refresh(tokens.verify(minted.token))
        assert "revoked" in refused(tokens, minted.token, "AUTH_001")
        principal = tokens.verify(renewed.token)
        assert principal.jti != minted.principal.jti and principal.expires_at == START + 3600
        for name in ("subject", "agent_type", "project_id", "issue_id", "permissions"):
            assert getattr(principal, name) == getattr(minted.principal, name)
        tokens.verify(other.token)
        at, until = revocations.kept["jti", minted.principal.jti]
        assert at == START and until >= minted.principal.expires_at

    @pytest.mark.parametrize("kind", ["agent", "runner"])
    async def test_no_renewal_outruns_a_revocation_that_another_sidecar_does_not_know_yet(
        self, tokens: Tokens, clock: ManualClock, kind: str
    ) -> None:
        other = Tokens(SigningKey.from_secret(SECRET), Revocations(), TYPES, clock)

        async def renewed(at: Tokens, token: str) -> str:
            known = at.verify(token)
            if kind == "runner":
                return at.mint_runner(known.subject, known.tags, since=known.since).token
            clock.now = known.expires_at - 1
            return (await at.refresh(known)).token

        made = mint(tokens) if kind == "agent" else tokens.mint_runner("agent-1", None)
        first = await renewed(other, made.token)
        clock.now += 100.3
        await tokens.revoke_agent("agent-1")
        clock.now += 0.8
        for token in (first, await renewed(other, first)):
            refused(tokens, token, "AUTH_001")
        again = mint(tokens) if kind == "agent" else tokens.mint_runner("agent-1", None)
        assert tokens.verify(again.token).subject == "agent-1"

    async def test_the_operators_token_is_not_refreshed(self, tokens: Tokens) -> None:
        with pytest.raises(SidecarError) as caught:
            await tokens.refresh(tokens.mint_operator().principal)
        assert caught.value.code == "AUTH_003"


class TestRevocation:
    async def test_revoking_one_token(self, tokens: Tokens) -> None:
        one, other = mint(tokens), mint(tokens)
        tokens.verify(one.token)
        await tokens.revoke_token(one.principal.jti)
        refused(tokens, one.token, "AUTH_001")
        tokens.verify(other.token)

    @pytest.mark.parametrize("fraction", [0.0, 0.000001, 0.5, 0.999999])
    async def test_an_agent_recreated_in_the_same_second_is_not_revoked(
        self, tokens: Tokens, clock: ManualClock, fraction: float
    ) -> None:
        clock.now += fraction
        old, bystander = mint(tokens), mint(tokens, "agent-2")
        await tokens.revoke_agent("agent-1")
        new = mint(tokens)
        refused(tokens, old.token, "AUTH_001")
        tokens.verify(new.token)
        tokens.verify(bystander.token)

    async def test_an_agent_revoked_twice_in_the_same_second(self, tokens: Tokens) -> None:
        old = mint(tokens)
        await tokens.revoke_agent("agent-1")
        new = mint(tokens)
        await tokens.revoke_agent("agent-1")
        refused(tokens, old.token, "AUTH_001")
        refused(tokens, new.token, "AUTH_001")
        tokens.verify(mint(tokens).token)

    async def test_a_revocation_survives_a_restart(
        self, tokens: Tokens, clock: ManualClock, revocations: Revocations
    ) -> None:
        one, old, kept = mint(tokens, "agent-2"), mint(tokens), mint(tokens, "agent-3")
        await tokens.revoke_token(one.principal.jti)
        await tokens.revoke_agent("agent-1")
        new = mint(tokens)
        again = Tokens(SigningKey.from_secret(SECRET), revocations, TYPES, clock)
        refused(again, one.token, "AUTH_001")
        refused(again, old.token, "AUTH_001")
        for token in (new.token, kept.token, mint(again).token):
            again.verify(token)

    async def test_the_operator_is_not_revoked(self, tokens: Tokens) -> None:
        with pytest.raises(SidecarError) as caught:
            await tokens.revoke_agent("operator")
        assert caught.value.code == "AUTH_003"


class TestGuard:
    async def waiting(self, tokens: Tokens, token: str) -> tuple[asyncio.Task[None], asyncio.Event]:
        """A task that waits inside the guard, and the event that releases it."""
        inside, proceed = asyncio.Event(), asyncio.Event()

        async def wait() -> None:
            async with tokens.guard(token):
                inside.set()
                await proceed.wait()

        task = asyncio.create_task(wait())
        await asyncio.wait_for(inside.wait(), 5)
        return task, proceed

    async def test_the_guard_passes_work_that_finishes_in_time(self, tokens: Tokens) -> None:
        task, proceed = await self.waiting(tokens, mint(tokens).token)
        proceed.set()
        await asyncio.wait_for(task, 5)

    async def test_an_expired_token_is_refused_on_entry(self, tokens: Tokens, clock: ManualClock) -> None:
        token = mint(tokens, ttl=1).token
        clock.now += 1
        with pytest.raises(SidecarError) as caught:
            async with tokens.guard(token):
                pytest.fail("the expired token was accepted")
        assert caught.value.code == "AUTH_002"

    async def test_the_guard_ends_with_the_token(self, tokens: Tokens, clock: ManualClock) -> None:
        token = mint(tokens, ttl=60).token
        clock.now += 59.95
        task, _ = await self.waiting(tokens, token)
        with pytest.raises(SidecarError) as caught:
            await asyncio.wait_for(task, 5)
        assert caught.value.code == "AUTH_002"

    @pytest.mark.parametrize("how", ["token", "agent", "refresh"])
    async def test_the_guard_ends_with_a_revocation(self, tokens: Tokens, how: str) -> None:
        minted = mint(tokens, ttl=200)
        first, _ = await self.waiting(tokens, minted.token)
        second, _ = await self.waiting(tokens, minted.token)
        bystander, proceed = await self.waiting(tokens, mint(tokens, "agent-2").token)
        act: dict[str, Callable[[], Any]] = {
            "token": lambda: tokens.revoke_token(minted.principal.jti),
            "agent": lambda: tokens.revoke_agent("agent-1"),
            "refresh": lambda: tokens.refresh(minted.principal),
        }
        await act[how]()
        for task in (first, second):
            with pytest.raises(SidecarError) as caught:
                await asyncio.wait_for(task, 5)
            assert caught.value.code == "AUTH_001" and "revoked" in caught.value.message
        assert not bystander.done()
        proceed.set()
        await asyncio.wait_for(bystander, 5)

    async def test_a_revocation_at_the_moment_of_expiry(self, tokens: Tokens, clock: ManualClock) -> None:
        """The timer has fired, but the waiter has not run yet."""
        minted = mint(tokens, ttl=60)
        clock.now += 59.95
        task, _ = await self.waiting(tokens, minted.token)
        due = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(0.01, due.set_result, None)

        async def revoke() -> None:
            await due
            await tokens.revoke_token(minted.principal.jti)

        revoking = asyncio.create_task(revoke())
        await asyncio.sleep(0)
        time.sleep(0.1)  # noqa: ASYNC251
        with pytest.raises(SidecarError):
            await asyncio.wait_for(task, 5)
        await asyncio.wait_for(revoking, 5)

    async def test_an_error_inside_the_guard_is_not_changed(self, tokens: Tokens) -> None:
        with pytest.raises(KeyError):
            async with tokens.guard(mint(tokens).token):
                raise KeyError("inside")
