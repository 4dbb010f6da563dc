"""The rate limit buckets, on a clock that the test moves."""

from __future__ import annotations

from typing import Any

import pytest

from cco_sidecar.auth.limits import RateLimits
from cco_sidecar.core.documents import read_map
from cco_sidecar.core.errors import Kind, SettingsError, SidecarError
from cco_sidecar.core.principal import Principal
from orchestra.v1.config_pb2 import RateLimitConfig


class ManualClock:
    """Seconds that the test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def caller(group: str, subject: str = "agent-1", *, operator: bool = False) -> Principal:
    return Principal(subject=subject, group=group, operator=operator)


def calls_until_refused(limits: RateLimits, principal: Principal, most: int = 500) -> int:
    """The number of calls until the first refusal."""
    for count in range(most):
        try:
            limits.take(principal)
        except SidecarError as error:
            assert (error.kind, error.code) == (Kind.RATE_LIMITED, "RATE_001")
            return count
    return most


def limited(overrides: dict[str, Any]) -> RateLimits:
    return RateLimits(read_map(RateLimitConfig, overrides, "agents.rate_limits"), ManualClock())


class TestRateLimits:
    @pytest.mark.parametrize(
        ("group", "size"),
        [
            ("coding", 70),
            ("integration", 70),
            ("development", 70),
            ("data", 70),
            ("infrastructure", 70),
            ("ai-ml", 70),
            ("mcp", 70),
            ("quality", 70),
            ("security", 70),
            ("documentation", 35),
            ("support", 35),
            ("research", 35),
            ("business", 35),
            ("", 35),
            ("architecture", 500),
        ],
    )
    def test_a_bucket_holds_the_limit_and_the_burst(self, group: str, size: int) -> None:
        assert calls_until_refused(RateLimits(monotonic=ManualClock()), caller(group)) == size

    def test_a_bucket_refills_at_the_limit_and_never_above_full(self) -> None:
        clock = ManualClock()
        limits = RateLimits(monotonic=clock)
        agent = caller("coding")
        calls_until_refused(limits, agent)
        clock.now += 1
        assert calls_until_refused(limits, agent) == 1
        clock.now += 0.5
        assert calls_until_refused(limits, agent) == 0
        clock.now += 0.5
        assert calls_until_refused(limits, agent) == 1
        clock.now += 60
        assert calls_until_refused(limits, agent) == 60
        clock.now += 86_400
        assert calls_until_refused(limits, agent) == 70

    def test_a_refusal_says_when_to_retry(self) -> None:
        clock = ManualClock()
        limits = RateLimits(monotonic=clock)
        writer = caller("documentation")
        calls_until_refused(limits, writer)
        with pytest.raises(SidecarError) as caught:
            limits.take(writer)
        assert caught.value.details == {"limit": 30, "retry_after_seconds": 2}
        assert caught.value.retry_after_seconds == 2
        clock.now += 2
        assert limits.take(writer) is not None

    def test_rate_limit_headers(self) -> None:
        limits = RateLimits(monotonic=ManualClock())
        counted = [limits.take(caller("coding")) for _ in range(3)]
        headers = [dict(each.headers()) for each in counted if each is not None]
        assert [each["x-ratelimit-remaining"] for each in headers] == ["69", "68", "67"]
        assert {each["x-ratelimit-limit"] for each in headers} == {"60"}
        assert int(headers[0]["x-ratelimit-reset"]) <= int(headers[2]["x-ratelimit-reset"])

    def test_each_agent_has_its_own_bucket(self) -> None:
        limits = RateLimits(monotonic=ManualClock())
        assert calls_until_refused(limits, caller("coding", "one")) == 70
        assert calls_until_refused(limits, caller("coding", "two")) == 70

    def test_the_operator_is_not_limited(self) -> None:
        limits = limited({"coding": 1})
        assert limits.take(caller("coding", operator=True)) is None
        assert calls_until_refused(limits, caller("", "operator", operator=True)) == 500

    @pytest.mark.parametrize(
        ("overrides", "group", "size"),
        [
            ({"coding_specialists": 5}, "coding", 15),
            ({"coding_specialists": 5}, "data", 15),
            ({"coding_specialists": 5}, "quality", 70),
            ({"coding": 5}, "coding", 15),
            ({"coding": 5}, "data", 70),
            ({"architects": 3}, "architecture", 3),
            ({"architecture": {"requests_per_minute": 3, "burst": 2}}, "architecture", 5),
            ({"documentation": {"requests_per_minute": 4}}, "documentation", 9),
            ({"documentation": {"burst": 0}}, "documentation", 30),
            ({"coding_specialists": 0}, "coding", 500),
            ({"documentation": 0}, "documentation", 500),
            ({"support": {"requests_per_minute": 0}}, "support", 500),
        ],
    )
    def test_overrides(self, overrides: dict[str, Any], group: str, size: int) -> None:
        assert calls_until_refused(limited(overrides), caller(group)) == size

    def test_no_limit_headers_when_limits_are_off(self) -> None:
        assert limited({"coding": 0}).take(caller("coding")) is None

    @pytest.mark.parametrize(
        ("overrides", "says"),
        [
            ({"nobody": 5}, "unknown group 'nobody'"),
            ({"Coding": 5}, "unknown group 'Coding'"),
            ({"coding": "many"}, 'agents.rate_limits.coding: expected an integer or an object, got "many"'),
            ({"coding": -1}, "agents.rate_limits.coding: -1"),
            ({"coding": 1.5}, "agents.rate_limits.coding: expected an integer or an object, got 1.5"),
            ({"coding": True}, "agents.rate_limits.coding: expected an integer or an object, got true"),
            ({"coding": None}, "agents.rate_limits.coding: expected an integer or an object, got null"),
            ({"coding": {"burst": "5"}}, 'agents.rate_limits.coding.burst: expected an integer, got "5"'),
        ],
    )
    def test_invalid_settings_are_rejected(self, overrides: dict[str, Any], says: str) -> None:
        with pytest.raises(SettingsError) as caught:
            limited(overrides)
        assert says in str(caught.value)
