"""The pauses between attempts."""

from __future__ import annotations

from cco_sidecar.core.retry import Backoff


def test_the_pause_doubles_up_to_five_seconds_and_never_overflows() -> None:
    backoff = Backoff()
    pauses = [backoff.failed() for _ in range(2000)]
    for number, pause in enumerate(pauses[:6]):
        assert 0.05 * 2**number <= pause <= 0.1 * 2**number
    assert all(2.5 <= pause <= 5 for pause in pauses[6:])
    assert len(set(pauses[6:])) > 100, "without jitter, all clients would return at once"
    backoff.succeeded()
    assert backoff.failed() <= 0.1
