"""The checker finds each fault in a history that has it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.cluster.history import History, Run, Seen, faults


def sound() -> History:
    history = History()
    for number in (1, 2, 3):
        history.published[f"k{number}"] = f"evt-a-{number}"
        for reader in ("one", "two"):
            history.read[reader].append(Seen(f"k{number}", f"evt-a-{number}"))
        history.consumed += [("delivered", f"k{number}"), ("delivered", f"k{number}"), ("settled", f"k{number}")]
        history.stored[f"r{number}"] = f"res-{number}"
        history.found.append((f"r{number}", f"res-{number}"))
    history.runs += [Run("agent", "1", 10.0, 20.0), Run("agent", "2", 21.0, 30.0), Run("other", "3", 15.0, 25.0)]
    return history


def test_a_sound_history() -> None:
    history = sound()
    # Nobody was told of it: it may be there or not.
    for reader in ("one", "two"):
        history.read[reader].append(Seen("k4", "evt-a-4"))
    history.found.append(("r4", "res-4"))
    assert faults(history) == []


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda h: h.read["one"].pop(), "one did not get the acknowledged event k3"),
        (lambda h: h.read["two"].append(Seen("k3", "evt-a-4")), "two got k3 2 times"),
        (lambda h: h.read["one"].reverse(), "one got evt-a-2 after evt-a-3"),
        (lambda h: h.published.update(k1="evt-a-9"), "one got k1 as evt-a-1, and its publisher was told evt-a-9"),
        (lambda h: h.gaps.update(["two"]), "two was told of 1 gaps"),
        (lambda h: h.read["one"].append(Seen("k4", "evt-a-4")), "one and two did not get the same events"),
        (lambda h: h.consumed.append(("delivered", "k1")), "k1 was delivered after it was settled"),
        (lambda h: h.consumed.pop(), "the consumer never got k3"),
        (lambda h: h.found.pop(), "the acknowledged result r3 is lost"),
        (lambda h: h.found.append(("r1", "res-9")), "result r1 is there 2 times"),
        (lambda h: h.stored.update(r1="res-9"), "result r1 is res-1, and its author was told res-9"),
        (lambda h: h.runs.append(Run("agent", "4", 19.0, 20.5)), "agent agent ran twice at once"),
    ],
)
def test_a_fault_is_found(spoil: Callable[[History], object], says: str) -> None:
    history = sound()
    spoil(history)
    assert any(each.startswith(says) for each in faults(history)), faults(history)
