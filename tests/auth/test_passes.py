"""Passes of one sidecar for another, on a clock that the test moves."""

from __future__ import annotations

from typing import Any

import jwt
import pytest

from cco_sidecar.auth.keys import SigningKey
from cco_sidecar.auth.passes import AUDIENCE, TTL_SECONDS, Passes
from cco_sidecar.auth.tokens import SKEW_SECONDS
from cco_sidecar.cluster.alone import Alone
from cco_sidecar.cluster.duties import Duties
from cco_sidecar.core.clock import Clock
from cco_sidecar.core.errors import SidecarError
from cco_sidecar.core.principal import RUN_AGENTS, Principal
from orchestra.v1.system_service_pb2 import ClusterMember

START = 1_800_000_000
PATH = "/orchestra.v1.AgentService/GetAgent"
KEY = SigningKey.from_secret("a-shared-secret-of-more-than-thirty-two-bytes")
CALLER = Principal(
    "a", "python-specialist", project_id="p", permissions=frozenset({"read_context"}), jti="j", since=START - 5
)


class Known(Alone):
    """Knows one other sidecar, and itself."""

    def find(self, sidecar_id: str) -> ClusterMember | None:
        return ClusterMember(sidecar_id=sidecar_id) if sidecar_id in ("one", "two") else None


class Moved(Clock):
    moved = 0.0

    def seconds(self) -> float:
        return START + self.moved


@pytest.fixture
def clock() -> Moved:
    return Moved()


def passes(sidecar_id: str, clock: Moved) -> Passes:
    return Passes(KEY, Known(sidecar_id, Duties()), clock)


@pytest.fixture
def given(clock: Moved) -> str:
    return passes("one", clock).make("two", PATH, CALLER)[0]


@pytest.fixture
def two(clock: Moved) -> Passes:
    return passes("two", clock)


def changed(given: str, **claims: Any) -> str:
    known = jwt.decode(given, options={"verify_signature": False})
    return jwt.encode(known | claims, KEY.signing, algorithm=KEY.algorithm)


def test_it_says_who_calls_and_who_vouches(clock: Moved, two: Passes) -> None:
    given, nonce = passes("one", clock).make("two", PATH, CALLER)
    assert two.check(given, PATH) == ("one", CALLER, nonce)


def test_it_may_be_for_a_caller_without_a_token(clock: Moved, two: Passes) -> None:
    given, _ = passes("one", clock).make("two", PATH, None)
    assert two.check(given, PATH).principal is None


def test_versions_that_know_other_things_of_a_caller_understand_each_other(given: str, two: Passes) -> None:
    caller = jwt.decode(given, options={"verify_signature": False})["caller"]
    # What is not set is not sent, so that a version before it takes no offence.
    assert "tags" not in caller
    newer = changed(given, caller=caller | {"of_a_later_version": 1})
    assert two.check(newer, PATH).principal == CALLER


def test_the_tags_of_a_runner_go_along(clock: Moved, two: Passes) -> None:
    runner = Principal(subject="far", permissions=frozenset({RUN_AGENTS}), tags=("gpu",))
    given, _ = passes("one", clock).make("two", PATH, runner)
    principal = two.check(given, PATH).principal
    assert principal is not None and list(principal.tags or ()) == ["gpu"]


@pytest.mark.parametrize(
    "claims",
    [
        {"to": "three"},
        {"path": "/orchestra.v1.AgentService/StopAgent"},
        {"sub": "two"},
        {"sub": "stranger"},
        {"aud": [AUDIENCE, "cco-sidecar"]},
        {"aud": "cco-sidecar"},
        {"iss": "somebody"},
        {"exp": START + TTL_SECONDS + 1},
        {"exp": "soon"},
        {"caller": {"subject": "operator"}},
        {"caller": "operator"},
    ],
    ids=str,
)
def test_it_counts_for_one_call_of_one_sidecar(claims: dict[str, Any], given: str, two: Passes) -> None:
    with pytest.raises(SidecarError, match="pass"):
        two.check(changed(given, **claims), PATH)


@pytest.mark.parametrize("key", ["another-secret-of-more-than-thirty-two-bytes", ""])
def test_the_key_must_be_that_of_the_sidecars(key: str, given: str, two: Passes) -> None:
    claims = jwt.decode(given, options={"verify_signature": False})
    forged = jwt.encode(claims, key or None, algorithm=KEY.algorithm if key else "none")
    with pytest.raises(SidecarError, match="pass"):
        two.check(forged, PATH)


@pytest.mark.parametrize(
    "seconds, valid",
    [
        (-SKEW_SECONDS - 1, False),
        (-SKEW_SECONDS, True),
        (TTL_SECONDS + SKEW_SECONDS - 1, True),
        (TTL_SECONDS + SKEW_SECONDS, False),
    ],
)
def test_it_lasts_a_minute_give_or_take_the_skew(
    seconds: float, valid: bool, given: str, clock: Moved, two: Passes
) -> None:
    clock.moved = seconds
    if valid:
        assert two.check(given, PATH).sidecar_id == "one"
    else:
        with pytest.raises(SidecarError, match="pass"):
            two.check(given, PATH)


def test_only_who_has_the_key_can_answer(clock: Moved, two: Passes) -> None:
    assert two.proof("a") == passes("one", clock).proof("a") != two.proof("b")
    other = SigningKey.from_secret("another-secret-of-more-than-thirty-two-bytes")
    assert Passes(other, Known("two", Duties()), clock).proof("a") != two.proof("a")
