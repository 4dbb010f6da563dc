"""What the browser itself enforces: scripts of this server only, no connection elsewhere, no page around it."""

from __future__ import annotations

import gzip
import re

import pytest
from tests.dashboard.conftest import Visit
from tests.gateway.test_console import policy_of
from tests.support.sidecars import until
from tests.support.team_at_work import Team

_FILES = ("/", "/dashboard/main.js", "/dashboard/main.css", "/dashboard/icon.svg")


def test_the_policy_forbids_inline_and_foreign_scripts(team: Team) -> None:
    page = team.sidecar.request("GET", "/")
    policy = policy_of(page)
    assert policy["default-src"] == "'none'" and policy["script-src"] == "'self'" and policy["style-src"] == "'self'"
    assert policy["connect-src"] == "'self'" and policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert policy["require-trusted-types-for"] == "'script'" and policy["trusted-types"] == "'none'"
    assert "unsafe" not in page.headers["content-security-policy"]
    assert page.headers["x-frame-options"] == "DENY" and page.headers["referrer-policy"] == "no-referrer"
    assert not re.search(r"<script(?![^>]*\bsrc=)|style=|\son\w+=|https?:", page.text)


def test_the_page_is_at_most_100_kb(team: Team) -> None:
    sizes = {}
    for path in _FILES:
        answer = team.sidecar.request("GET", path, headers={"Accept-Encoding": "identity"})
        assert answer.status_code == 200 and answer.headers["x-content-type-options"] == "nosniff"
        sizes[path] = len(gzip.compress(answer.content, 9))
        sent = team.sidecar.request("GET", path, stream=True, headers={"Accept-Encoding": "gzip"})
        assert len(sent.raw.read()) <= sizes[path] * 1.01 + 1024
    assert sum(sizes.values()) <= 100_000, sizes


@pytest.mark.parametrize(
    "path",
    [
        "/dashboard",
        "/dashboard/",
        "/dashboard/../main.js",
        "/dashboard/index.html",
        "/index.html",
        "/dashboard/THIRD-PARTY.txt",
    ],
)
def test_nothing_else_is_served(team: Team, path: str) -> None:
    assert team.sidecar.request("GET", path).status_code == 404


def test_the_page_only_talks_to_its_own_server(visit: Visit) -> None:
    there = visit()
    asked: list[str] = []
    there.page.on("request", lambda request: asked.append(request.url))
    there.page.on("websocket", lambda socket: asked.append(socket.url.replace("ws:", "http:")))
    there.page.reload()
    for name in ("Issues", "Events", "Context", "Sessions", "Documents", "Cost", "Health"):
        there.page.get_by_role("navigation").get_by_role("link", name=name).click()
        there.page.get_by_role("heading", name=name if name != "Issues" else "Issues", exact=True).wait_for()
    assert len(asked) > 10 and all(url.startswith(there.sidecar.url) for url in asked)
    assert not any("token" in url or "ey" in url.partition("?")[2] for url in asked)


@pytest.mark.parametrize(
    "attack",
    [
        "document.body.append(Object.assign(document.createElement('script'), {text: 'window.hacked = 1'}))",
        "document.body.innerHTML = '<img src=x onerror=\"window.hacked = 1\">'",
        "document.body.append(Object.assign(document.createElement('script'), {src: 'http://127.0.0.1:9/x.js'}))",
        "fetch('http://127.0.0.1:9/')",
        "new WebSocket('ws://127.0.0.1:9/')",
        "document.body.append(Object.assign(document.createElement('iframe'), {src: 'http://127.0.0.1:9/'}))",
        "window.setTimeout('window.hacked = 1')",
    ],
)
def test_even_a_script_that_got_in_could_do_little(visit: Visit, attack: str) -> None:
    there = visit()
    there.page.evaluate(
        """() => { window.tried = [];
        document.addEventListener('securitypolicyviolation', event => window.tried.push(event.effectiveDirective)); }"""
    )
    # As a script of the page would, not as the debugger does, which may do more.
    there.page.evaluate(f"() => {{ try {{ {attack}; }} catch (error) {{ window.refused = String(error); }} }}")
    until(lambda: there.page.evaluate("window.tried.length > 0 || window.refused"), "the refusal")
    assert there.page.evaluate("window.hacked") is None
    there.problems.clear()
