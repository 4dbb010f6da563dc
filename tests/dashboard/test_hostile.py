"""What hostile agents write is shown as text: it runs nothing, loads nothing, and hides nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect
from tests.support.browsers import Visitor, visitor
from tests.support.repositories import git
from tests.support.team_at_work import Team

from cco_sidecar.testing.agents import SpawnedAgent

# Each sets `hacked` on the page, opens a dialog, or asks another host, if it is taken for anything but text.
ATTACKS = [
    "<script>window.hacked=1</script>",
    "<img src=x onerror=window.hacked=1>",
    "<svg/onload=window.hacked=1>",
    "<iframe srcdoc='<script>parent.hacked=1</script>'></iframe>",
    "<a href='javascript:window.hacked=1'>x</a>",
    "[x](javascript:window.hacked=1)",
    "![x](http://203.0.113.9/track.png)",
    "<style>body{display:none}</style>",
    "<meta http-equiv=refresh content='0;url=http://203.0.113.9/'>",
    "<base href=http://203.0.113.9/>",
    "<form action=http://203.0.113.9/><input name=q></form>",
    "<object data=http://203.0.113.9/></object>",
    '"><script>window.hacked=1</script>',
    "'-window.hacked=1-'",
    "{{constructor.constructor('window.hacked=1')()}}",
    "${window.hacked=1}",
    "</pre><script>window.hacked=1</script>",
    "</textarea></title></style><script>window.hacked=1</script>",
    "\u202egnp.exe\u202c \u2066x\u2069 \u200b\u200d\ufeff",
    "\x1b]0;hacked\x07\x1b[2J\x1b[31mred\x1b[0m",
    "\x1b]8;;javascript:window.hacked=1\x1b\\x\x1b]8;;\x1b\\",
    "__proto__",
    "constructor",
    "data:text/html,<script>window.hacked=1</script>",
    "&lt;script&gt;window.hacked=1&lt;/script&gt;",
    "<x:script xmlns:x='http://www.w3.org/1999/xhtml'>window.hacked=1</x:script>",
    "%3Cscript%3Ewindow.hacked=1%3C/script%3E#/team?x=<script>",
]
ALL = "\n\n".join(ATTACKS)
# As the name of a file: no slashes, and what git and the file system allow.
FILE = "<img src=x onerror=window.hacked=1>.py"
_ISSUE = "hostile-1"
_INVISIBLE = "[\u202a-\u202e\u2066-\u2069\u200b\u200d\ufeff\u001b]"


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Team, dict[str, str]]]:
    """A sidecar in which every text that an agent controls is an attack, and the ids of what holds them."""
    team = Team(tmp_path_factory.mktemp("hostile"))
    (team.root / FILE).write_text(f"# {ALL}\n")
    git(team.root, "add", "--all")
    git(team.root, "commit", "-qm", ALL.replace("\x1b", "").replace("\x07", ""))
    asked = {"question": ALL, "data": {"command": ALL, "diff": ALL, "tool_input": {"x": ALL}}}
    ask = {"do": "call", "method": "POST", "path": "/approvals", "expect": 201, "body": asked}
    lines = [{"do": "print", "text": each} for each in ATTACKS]
    result = {"do": "result", "decisions": ATTACKS, "artifacts": {attack: attack for attack in ATTACKS}}
    beat = {"do": "heartbeat", "message": ALL}
    change = {"do": "write", "path": "README.md", "text": ALL}
    new = {"do": "write", "path": f"new {FILE}", "text": ALL}
    agent: SpawnedAgent = team.spawn(
        "python-specialist", ALL.replace("\x00", ""), [*lines, beat, change, new, result, ask, team.gate("coder")],
        issue=_ISSUE, isolation="worktree",
    )  # fmt: skip
    agent.wait("needs_input")
    event = team.publish("hostile", {"issue_id": ALL[:100], "text": ALL, ATTACKS[0]: ATTACKS}, correlation_id=ALL[:250])
    document = team.call(
        "POST",
        "/api/documents",
        json={"filename": FILE.replace("/", ""), "content_type": "text/markdown", "text": ALL, "tags": [ATTACKS[0]]},
    )
    page = team.call(
        "POST",
        "/api/documents",
        json={
            "filename": "page.html",
            "content_type": "text/html",
            "text": ALL,
            "metadata": {"description": ALL[:500]},
        },
    )
    picture = team.call(
        "POST",
        "/api/documents",
        json={
            "filename": "x.svg",
            "content_type": "image/svg+xml",
            "text": f"<svg xmlns='http://www.w3.org/2000/svg'>{ATTACKS[0]}</svg>",
        },
    )
    session = team.call("POST", "/api/sessions", json={"name": "hostile", "external": True})["session_id"]
    for body in (
        {"event_type": "message", "role": "assistant", "content": [{"type": "text", "text": ALL}]},
        {
            "event_type": "post_tool",
            "tool_name": ATTACKS[0],
            "tool_input": {"command": ALL},
            "tool_output": ALL,
            "error": ALL,
        },
    ):
        team.call("POST", f"/api/sessions/{session}/events", json=body)
    yield team, {
        "agent": agent.id, "event": event, "document": document["document_id"], "page": page["document_id"],
        "picture": picture["document_id"], "session": session, "result": agent.get()["result_id"],
    }  # fmt: skip
    team.stop()


@pytest.fixture(scope="module")
def there(browser: Browser, hostile: tuple[Team, dict[str, str]]) -> Iterator[Visitor]:
    with visitor(browser, hostile[0].sidecar) as made:
        made.page.on("request", lambda request: foreign(made, request))
        yield made


def foreign(there: Visitor, request: Any) -> None:
    if not request.url.startswith((there.sidecar.url, "blob:", "data:,")):
        there.problems.append(f"asked {request.url}")


PLACES = {
    "team": "team",
    "output": "team?agent={agent}",
    "changes": "team?agent={agent}&tab=diff",
    "details": "team?agent={agent}&tab=facts",
    "issue": f"issue?issue={_ISSUE}&a={{result}}",
    "event": "events?event={event}",
    "context map": f"context?issue={_ISSUE}&type=python-specialist&task=hacked",
    "context text": f"context?issue={_ISSUE}&type=python-specialist&tab=text",
    "scores": f"context?issue={_ISSUE}&type=python-specialist&task=hacked&tab=scores",
    "session": "sessions?session={session}",
    "session timeline": "sessions?session={session}&tab=timeline",
    "session history": "sessions?session={session}&tab=history",
    "markdown": "documents?document={document}",
    "page": "documents?document={page}",
    "picture": "documents?document={picture}",
    "cost": "cost?by=issue",
    "address": "team?find=<script>window.hacked=1</script>&agent=<img%20src=x%20onerror=window.hacked=1>",
    "view": "<img src=x onerror=window.hacked=1>",
}


@pytest.mark.parametrize("place", PLACES)
def test_it_stays_text(there: Visitor, hostile: tuple[Team, dict[str, str]], place: str) -> None:
    there.show(PLACES[place].format(**hostile[1]))
    expect(there.page.get_by_role("main")).to_contain_text("hostile" if place == "cost" else "hacked")
    # Also what is folded away.
    there.page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true })")
    found = there.page.evaluate(
        """() => ({
            hacked: window.hacked,
            elements: [...document.querySelectorAll('iframe, object, embed, base, main style, main script, main form[action], main meta, main img:not([src^="blob:"])')].length,
            handlers: [...document.querySelectorAll('*')].filter(each => [...each.attributes].some(one => one.name.startsWith('on'))).length,
            links: [...document.querySelectorAll('a')].map(each => each.href).filter(href => !/^(https?|blob):/.test(href)),
        })"""
    )
    assert found == {"hacked": None, "elements": 0, "handlers": 0, "links": []}
    assert there.problems == []


@pytest.mark.parametrize("place", [name for name in PLACES if name not in ("address", "view", "cost", "picture")])
def test_nothing_is_invisible(there: Visitor, hostile: tuple[Team, dict[str, str]], place: str) -> None:
    there.show(PLACES[place].format(**hostile[1]))
    expect(there.page.get_by_role("main")).to_contain_text("hacked")
    there.page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true })")
    left = there.page.evaluate(
        """pattern => {
            const all = document.body.innerText + [...document.querySelectorAll('[title],[aria-label]')].map(each => each.title + each.ariaLabel).join('');
            return all.match(new RegExp(pattern, 'gu'));
        }""",
        _INVISIBLE,
    )
    assert left is None


def test_a_page_of_a_document_is_only_downloaded(
    there: Visitor, hostile: tuple[Team, dict[str, str]], tmp_path: Path
) -> None:
    team, _ = hostile
    body = {"filename": "x.html", "content_type": "text/html", "data": "PHNjcmlwdD5oYWNrZWQ8L3NjcmlwdD7/"}
    made = team.call("POST", "/api/documents", json=body)
    there.page.evaluate(
        "() => { window.types = []; const real = URL.createObjectURL;"
        " URL.createObjectURL = blob => { window.types.push(blob.type); return real.call(URL, blob) } }"
    )
    there.show(f"documents?document={made['document_id']}")
    expect(there.page.get_by_role("link", name="Download")).to_have_attribute("download", "x.html")
    assert there.page.evaluate("window.types") == ["application/octet-stream"]
