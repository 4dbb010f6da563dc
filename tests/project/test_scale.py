"""The page about scale says what the model computes."""

from __future__ import annotations

from bench.scale_model import Assumed, Machine, Measured, needs, table
from tests.support.repositories import OURS

AGENTS = (1_000, 10_000, 100_000, 1_000_000)


def test_the_page_has_the_table() -> None:
    rows = [needs(agents, Assumed(), Measured(), Machine()) for agents in AGENTS]
    assert table(rows) in (OURS / "docs" / "scale.md").read_text()


def test_more_agents_need_more() -> None:
    few, many = (needs(agents, Assumed(), Measured(), Machine()) for agents in (10_000, 1_000_000))
    for name in ("events", "cores", "connections", "streams", "records", "network", "dollars"):
        assert getattr(many, name) > getattr(few, name), name
    assert few.sidecars == 2 and many.sidecars > 10
    assert needs(10_000, Assumed(per_project=10_000), Measured(), Machine()).streams == 1
