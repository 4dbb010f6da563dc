"""The sidecar goes away while the page is open: it says so, comes back, and shows every event once."""

from __future__ import annotations

import http.server
import re
import threading
from pathlib import Path
from typing import ClassVar

import pytest
import requests
from playwright.sync_api import Browser, expect
from tests.support.browsers import visitor
from tests.support.sidecars import events, until
from tests.support.team_at_work import Team

from cco_sidecar.testing.process import SidecarProcess

# Unless it has come back by itself; a pointer would be too slow then.
TRY_NOW = "document.querySelector('.connection.lost button')?.click()"


@pytest.fixture
def own(tmp_path: Path) -> Team:
    return Team(tmp_path)


def shown(page: object) -> list[str]:
    """The ids of the rows, in their order."""
    found: list[str] = page.evaluate(  # type: ignore[attr-defined]
        "[...document.querySelectorAll('[role=option]')].map(row => row.id.slice(4))"
    )
    return found


@pytest.mark.parametrize("web_sockets", [True, False])
def test_no_gap_and_no_repeat_over_a_kill(browser: Browser, own: Team, web_sockets: bool) -> None:
    # Tall enough for all rows to be in the document.
    with visitor(browser, own.sidecar, size=(1200, 6000)) as there:
        if not web_sockets:
            # As behind a proxy that lets none through.
            there.page.route_web_socket(re.compile(".*"), lambda socket: socket.close())
            there.page.reload()
        there.show("events")
        expect(there.page.get_by_label("Moment that is shown")).to_be_visible()
        expect(there.page.locator(".connection")).to_have_text("Live")
        for number in range(30):
            own.publish("before", {"n": number})
        expect(there.page.get_by_role("option")).to_have_count(30)
        own.sidecar.kill()
        expect(there.page.get_by_text("No connection to the sidecar")).to_be_visible()
        own.restart()
        for number in range(30):
            own.publish("after", {"n": number})
        there.page.evaluate(TRY_NOW)
        expect(there.page.locator(".connection")).to_have_text("Live", timeout=30_000)
        expect(there.page.get_by_role("option")).to_have_count(60)
        assert shown(there.page) == [event["event_id"] for event in events(own.sidecar, "default")]
        own.publish("later")
        expect(there.page.get_by_role("option").last).to_contain_text("later")
    own.stop()


def test_events_that_are_gone_are_said_to_be(browser: Browser, tmp_path: Path) -> None:
    own = Team(tmp_path, events={"max_queue_size": 100})
    with visitor(browser, own.sidecar, size=(1200, 6000)) as there:
        there.show("events")
        own.publish("before")
        expect(there.page.get_by_role("option").filter(has_text="before")).to_be_visible()
        own.sidecar.kill()
        expect(there.page.get_by_text("No connection to the sidecar")).to_be_visible()
        own.restart()
        token = there.page.evaluate("sessionStorage.getItem('cco.token')")
        assert token
        # Many more than are retained, before the page is back.
        there.context.set_offline(True)
        lines = [{"event_type": "many", "data": {"n": number}} for number in range(900)]
        own.call("POST", "/api/events:publish", json={"events": lines})
        there.context.set_offline(False)
        there.page.evaluate(TRY_NOW)
        expect(there.page.locator(".gap")).to_contain_text(re.compile("events are no longer retained"))
    own.stop()


def test_the_output_of_an_agent_goes_on(browser: Browser, own: Team) -> None:
    """The agent outlives the sidecar, and the page shows each of its lines once."""
    first = [{"do": "print", "text": f"line {number}"} for number in range(5)]
    rest = [{"do": "print", "text": f"line {number}"} for number in range(5, 10)]
    spawned = own.spawn("python-specialist", "print", [*first, own.gate("rest"), *rest, own.gate("end")])
    with visitor(browser, own.sidecar) as there:
        there.show(f"team?agent={spawned.id}")
        output = there.page.get_by_role("listbox", name="Output")
        expect(output.get_by_role("option")).to_have_count(5)
        own.sidecar.kill()
        expect(there.page.get_by_text("No connection to the sidecar")).to_be_visible()
        own.open("rest")
        own.restart()
        there.page.evaluate(TRY_NOW)
        expect(output.get_by_role("option")).to_have_count(10, timeout=30_000)
        texts = output.get_by_role("option").all_inner_texts()
        assert [text.split(" ", 1)[1].strip() for text in texts] == [f"line {number}" for number in range(10)]
    own.open("end")
    own.stop()


class Impostor(http.server.BaseHTTPRequestHandler):
    """A program that has taken the port: it answers everything, relays what proves the sidecar, and keeps what it hears."""

    heard: ClassVar[list[str]] = []
    relay: ClassVar[str] = ""

    def do_GET(self) -> None:
        self.heard.append(str(self.headers))
        body = b"{}"
        if self.relay and self.path.startswith("/api/identity"):
            body = requests.get(self.relay + self.path, timeout=10).content
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize("relays", [False, True])
def test_a_program_that_takes_the_port_gets_no_token(browser: Browser, own: Team, tmp_path: Path, relays: bool) -> None:
    Impostor.heard.clear()
    with visitor(browser, own.sidecar) as there:
        expect(there.page.locator(".connection")).to_have_text("Live")
        port = own.sidecar.port
        own.sidecar.kill()
        if relays:
            # The sidecar is back on another port, and would vouch for itself there.
            own.sidecar = SidecarProcess(own.directory / "storage", own.root, config=own.config)
        Impostor.relay = own.sidecar.url if relays else ""
        with http.server.ThreadingHTTPServer(("127.0.0.1", port), Impostor) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            until(lambda: len(Impostor.heard) > 3, "the page to ask")
            there.page.get_by_role("navigation").get_by_role("link", name="Cost").click()
            there.page.evaluate(TRY_NOW)
            asked = len(Impostor.heard)
            until(lambda: len(Impostor.heard) > asked + 2, "the page to ask again")
            server.shutdown()
        expect(there.page.get_by_text("No connection to the sidecar")).to_be_visible()
        assert not any("bearer" in heard.lower() or "cco.token" in heard.lower() for heard in Impostor.heard)
        if not relays:
            own.restart()
            expect(there.page.locator(".connection")).to_have_text("Live", timeout=30_000)
    own.stop()
