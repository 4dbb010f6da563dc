"""A team at work, and browsers that look at it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser
from tests.support.browsers import Visitor, chromium, visitor
from tests.support.team_at_work import Team

from cco_sidecar.testing.agents import SpawnedAgent

Visit = Callable[..., Visitor]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    made = Team(tmp_path_factory.mktemp("team"))
    try:
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="module")
def agents(team: Team) -> dict[str, SpawnedAgent]:
    """The agents of the team, by what they are: architect, coder, tester, failed, stuck."""
    return team.work()


@pytest.fixture
def visit(browser: Browser, team: Team) -> Iterator[Visit]:
    """Signs in, and returns the visitor. What a script or the policy complained about fails the test."""
    with contextlib.ExitStack() as stack:
        visitors: list[Visitor] = []

        def make(**more: Any) -> Visitor:
            made = stack.enter_context(visitor(browser, team.sidecar, **more))
            visitors.append(made)
            return made

        yield make
        for each in visitors:
            assert each.problems == []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.browser)
