"""How fast the dashboard is: ``python -m bench.dashboard [--agents N] [--events N] [--minutes N] [--rate N]``.

A sidecar with many agents and events is opened in Chromium. Measured are the first paint of a page that has never been
opened, when its agents and all its events are there, the frames while each list is scrolled (in a trace of the
browser), and the memory of the page while events keep coming: by default as many as an hour brings at 30 a second.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import statistics
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page
from tests.support.browsers import chromium, login_link
from tests.support.repositories import commit_all

from cco_sidecar.storage.sql.database import Database
from cco_sidecar.storage.sql.sqlite import Sqlite
from cco_sidecar.storage.sql.stores import SqlStores
from cco_sidecar.testing.process import SidecarProcess
from orchestra.v1.agent_service_pb2 import AGENT_STATUS_COMPLETED, AGENT_STATUS_FAILED, Agent, SpawnAgentRequest

_BATCH = 1000
_SCROLL_SECONDS = 5.0
_FRAMES = ["disabled-by-default-devtools.timeline.frame", "devtools.timeline.frame"]


async def add_agents(storage: Path, count: int) -> None:
    """Writes the records of agents that have ended, as a team that has worked for a day leaves them."""
    database = Database(Sqlite(storage / "records.db"))
    stores, began = SqlStores(database), datetime.now(UTC) - timedelta(days=1)
    for number in range(count):
        at = began + timedelta(seconds=number * 60)
        agent = Agent(
            agent_id=f"python-specialist-{number:08d}", agent_type="python-specialist", project_id="default",
            issue_id=f"issue-{number // 10}", task=f"implement part {number} of the plan, and test it",
            runner="claude", model="sonnet", attempt=1, max_attempts=1, branch=f"agent/python-specialist-{number:08d}",
            status=AGENT_STATUS_FAILED if number % 9 == 0 else AGENT_STATUS_COMPLETED, reason="exited with code 0",
        )  # fmt: skip
        for name, seconds in (("created_at", 0), ("started_at", 1), ("ended_at", 50), ("status_since", 50)):
            getattr(agent, name).FromDatetime(at + timedelta(seconds=seconds))
        agent.usage.input_tokens, agent.usage.output_tokens, agent.usage.cost_usd = 12_000 + number, 3_000, 0.05
        agent.last_output.extend(f"line {line} of the output of {number}" for line in range(20))
        await stores.agents.add(agent, SpawnAgentRequest(), created=int(at.timestamp() * 1e6))
    database.close()


def event(number: int) -> dict[str, Any]:
    data = {"issue_id": f"issue-{number % 100}", "number": number, "text": "x" * 80}
    return {"event_type": f"step_{number % 7}", "topic": "testing", "data": data}


def add_events(sidecar: SidecarProcess, count: int, first: int = 0) -> None:
    for start in range(first, first + count, _BATCH):
        batch = [event(number) for number in range(start, min(start + _BATCH, first + count))]
        answer = sidecar.request("POST", "/api/events:publish", sidecar.operator, json={"events": batch})
        assert answer.status_code < 300, answer.text


def opened(browser: Browser, sidecar: SidecarProcess) -> Page:
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    # The second page of the profile: signed in, nothing cached.
    page.goto(login_link(sidecar))
    page.get_by_role("navigation", name="Views").wait_for()
    return page


def loading(browser: Browser, sidecar: SidecarProcess, rounds: int) -> None:
    painted, rows = [], []
    for _ in range(rounds):
        page = opened(browser, sidecar)
        page.add_init_script(
            "new MutationObserver(() => { if (!window.rowsAt && document.querySelector('[role=option]'))"
            " window.rowsAt = performance.now(); }).observe(document, {childList: true, subtree: true})"
        )
        page.reload()
        page.wait_for_function("() => window.rowsAt")
        paint = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
        painted.append(page.evaluate(paint))
        rows.append(page.evaluate("window.rowsAt"))
        page.context.close()
    for what, times in ((f"first paint, median of {rounds}", painted), ("agents are listed", rows)):
        print(f"{what:<42}{statistics.median(times):8.0f} ms   (worst {max(times):.0f})")


def frames(browser: Browser, page: Page, where: str) -> None:
    """Scrolls a list by 60 pixels a frame, up and down again, and counts what the browser draws."""
    page.evaluate(
        """() => {
            const list = document.querySelector('.list');
            let direction = -1;
            window.frames_ = [];
            const step = time => {
                window.frames_.push(time);
                if (list.scrollTop === 0) direction = 1;
                if (list.scrollTop + list.clientHeight >= list.scrollHeight) direction = -1;
                list.scrollTop += direction * 60;
                window.frame_ = requestAnimationFrame(step);
            };
            window.frame_ = requestAnimationFrame(step);
        }"""
    )
    browser.start_tracing(
        page=page, categories=["disabled-by-default-devtools.timeline.frame", "devtools.timeline.frame"]
    )
    began = time.monotonic()
    page.wait_for_timeout(_SCROLL_SECONDS * 1000)
    took = time.monotonic() - began
    trace = json.loads(browser.stop_tracing())
    times: list[float] = page.evaluate("cancelAnimationFrame(window.frame_), window.frames_")
    drawn = sum(each["name"] == "DrawFrame" for each in trace["traceEvents"])
    gaps = sorted(after - before for before, after in itertools.pairwise(times))
    p99 = gaps[int(len(gaps) * 0.99)]
    print(f"{where:<42}{drawn / took:8.1f} frames/s drawn, {len(gaps) / took:.1f} asked for, p99 {p99:.0f} ms")


def heap(page: Page) -> float:
    session = page.context.new_cdp_session(page)
    session.send("HeapProfiler.collectGarbage")
    used: float = session.send("Runtime.getHeapUsage")["usedSize"]
    session.detach()
    return used / 2**20


def memory(page: Page, sidecar: SidecarProcess, first: int, events: int, minutes: float) -> None:
    """Publishes events evenly over the time, and prints the page's memory at ten moments."""
    began, sent = time.monotonic(), 0
    print(
        f"{events:,} events in {minutes:g} minutes, {events / minutes / 60:.0f} a second; heap after collections, MB:"
    )
    figures = [heap(page)]
    for part in range(10):
        while sent < events * (part + 1) / 10:
            due = began + minutes * 60 * sent / events
            time.sleep(max(0.0, due - time.monotonic()))
            add_events(sidecar, _BATCH, first + sent)
            sent += _BATCH
        figures.append(heap(page))
    print("  " + " ".join(f"{each:.0f}" for each in figures))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--agents", type=int, default=1000)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--minutes", type=float, default=3.0, help="how long events keep coming")
    parser.add_argument("--rate", type=int, default=30, help="events a second that an hour is made of")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        (place / "root").mkdir()
        (place / "root" / "README.md").write_text("# Small\n")
        commit_all(place / "root")
        config = place / "config.json"
        config.write_text(json.dumps({"events": {"max_queue_size": 1_000_000}}))
        start: Any = lambda: SidecarProcess(place / "storage", place / "root", config=config)  # noqa: E731
        start().stop()
        asyncio.run(add_agents(place / "storage", options.agents))
        sidecar = start()
        add_events(sidecar, options.events)
        with chromium() as browser:
            loading(browser, sidecar, 5)
            page = opened(browser, sidecar)
            page.locator("[role=option]").first.wait_for()
            frames(browser, page, f"scrolling {options.agents:,} agents")
            page.evaluate("location.hash = '#/events'")
            began = time.monotonic()
            page.get_by_text("reading older ones").wait_for()
            page.get_by_text("reading older ones").wait_for(state="detached", timeout=300_000)
            print(f"all events are there after                {time.monotonic() - began:8.1f} s")
            frames(browser, page, f"scrolling {options.events:,} events")
            memory(page, sidecar, options.events, options.rate * 3600, options.minutes)
            frames(browser, page, "scrolling after that")
        sidecar.stop()


if __name__ == "__main__":
    main()
