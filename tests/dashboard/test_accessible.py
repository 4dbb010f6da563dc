"""axe-core on every view, in both colours and at a phone's width; and pictures of them, which people look at."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect
from tests.support.browsers import PHONE, TABLET, WIDE, Visitor, visitor
from tests.support.repositories import OURS
from tests.support.team_at_work import ISSUE, Team

from cco_sidecar.testing.agents import SpawnedAgent

_AXE = OURS / "dashboard" / "node_modules" / "axe-core" / "axe.min.js"
PICTURES = OURS / ".build" / "dashboard"
# Set by `make dashboard-pictures`: docs/dashboard.md shows these.
DOCS = OURS / "docs" / "images"
SIZES = {"wide": WIDE, "tablet": TABLET, "phone": PHONE}
PLACES = {
    "team": "team",
    "agent": "team?agent={tester}",
    "changes": "team?agent={coder}&tab=diff",
    "details": "team?agent={architect}&tab=facts",
    "issue": f"issue?issue={ISSUE}",
    "events": "events?event={event}",
    "consumers": "events?tab=consumers",
    "dead-letters": "events?tab=dead",
    "context": f"context?issue={ISSUE}&type=python-specialist&task=totals+of+orders&file=src/shop/orders.py",
    "scores": f"context?issue={ISSUE}&type=python-specialist&task=totals+of+orders&tab=scores",
    "text": f"context?issue={ISSUE}&type=python-specialist&task=totals+of+orders&tab=text",
    "session": "sessions?session={session}",
    "session-timeline": "sessions?session={session}&tab=timeline",
    "document": "documents?document={document}",
    "revisions": "documents?document={document}&before=1",
    "cost": "cost",
    "health": "health",
}
SHOWN = {"team", "issue", "events", "context", "session", "document", "cost", "health"}


@pytest.fixture(scope="module")
def ids(team: Team, agents: dict[str, SpawnedAgent]) -> dict[str, str]:
    documents = team.call("GET", "/api/documents?name=design.md")["documents"]
    passing = [
        each for each in team.call("GET", "/api/events?limit=1000")["events"] if each["event_type"] == "tests_passing"
    ]
    return {name: agent.id for name, agent in agents.items()} | {
        "session": team.call("GET", "/api/sessions")["sessions"][0]["session_id"],
        "document": documents[0]["document_id"],
        "event": passing[0]["event_id"],
    }


def serious(there: Visitor) -> list[Any]:
    """What axe finds that is serious or critical: the rule, and where."""
    if not _AXE.exists():
        pytest.skip("axe-core is not installed: make dashboard/node_modules/.ready")
    # The debugger may, where the page's policy lets no script in.
    there.page.evaluate(_AXE.read_text())
    found = there.page.evaluate("async () => (await axe.run(document, {resultTypes: ['violations']})).violations")
    return [
        (each["id"], [node["html"][:200] + " " + node.get("failureSummary", "")[:300] for node in each["nodes"][:3]])
        for each in found
        if each["impact"] in ("serious", "critical")
    ]


def show(there: Visitor, place: str, ids: dict[str, str]) -> None:
    there.show(PLACES[place].format(**ids))
    expect(there.page.get_by_text("Loading")).to_have_count(0)
    expect(there.page.get_by_text("Building the context")).to_have_count(0)
    if place == "health":
        expect(there.page.get_by_text("Checking …")).to_have_count(0, timeout=60_000)
        there.page.locator(".charts canvas").first.wait_for(timeout=30_000)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_every_view_at_every_width(browser: Browser, team: Team, ids: dict[str, str], size: str, scheme: str) -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    problems = {}
    with visitor(browser, team.sidecar, size=SIZES[size], scheme=scheme, timezone_id="UTC") as there:
        for place in PLACES:
            show(there, place, ids)
            # Pictures first: axe scrolls.
            there.page.screenshot(path=PICTURES / f"{place}-{size}-{scheme}.png", animations="disabled")
            if found := serious(there):
                problems[place] = found
            wider = there.page.evaluate("document.documentElement.scrollWidth - innerWidth")
            if wider > 0:
                problems[f"{place} is too wide"] = wider
        assert there.problems == []
    assert problems == {}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_dialogs_and_the_sign_in(browser: Browser, team: Team, ids: dict[str, str], scheme: str) -> None:
    with visitor(browser, team.sidecar, scheme=scheme) as there:
        there.page.keyboard.press("Control+k")
        expect(there.page.get_by_role("dialog", name="Commands")).to_be_visible()
        there.page.screenshot(path=PICTURES / f"commands-wide-{scheme}.png")
        assert serious(there) == []
        there.page.keyboard.press("Escape")
        expect(there.page.locator("dialog")).to_have_count(0)
        there.page.keyboard.press("?")
        expect(there.page.get_by_role("dialog", name="Keyboard")).to_be_visible()
        assert serious(there) == []
        there.page.keyboard.press("Escape")
        expect(there.page.locator("dialog")).to_have_count(0)
        there.page.get_by_role("button", name="Sign out").click()
        expect(there.page.get_by_label("Login link")).to_be_visible()
        there.page.screenshot(path=PICTURES / f"sign-in-wide-{scheme}.png")
        assert serious(there) == []


@pytest.mark.skipif("DOCS_PICTURES" not in os.environ, reason="make dashboard-pictures writes the pictures of the docs")
def test_pictures_for_the_docs(browser: Browser, team: Team, ids: dict[str, str]) -> None:
    with visitor(browser, team.sidecar, size=(1200, 860), timezone_id="UTC") as there:
        for place in sorted(SHOWN):
            show(there, place, ids)
            there.page.screenshot(path=DOCS / f"dashboard-{place}.png", animations="disabled")


def test_the_pictures_of_the_docs_are_there() -> None:
    text = (OURS / "docs" / "dashboard.md").read_text()
    for place in SHOWN:
        picture = Path("images") / f"dashboard-{place}.png"
        assert str(picture) in text and (OURS / "docs" / picture).exists()
