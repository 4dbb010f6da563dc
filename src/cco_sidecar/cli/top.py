"""`cco top`: a live view of agents, the queue and events."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import click
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from cco_sidecar.cli import output as out
from cco_sidecar.cli.agent import status_of
from cco_sidecar.cli.connect import connected, project_option
from cco_sidecar.cli.numbers import Duration
from cco_sidecar.cli.terminal import echo, one_line
from cco_sidecar.client import Client
from cco_sidecar.core import codec
from cco_sidecar.core.agent_status import ENDED
from orchestra.v1.agent_service_pb2 import Agent
from orchestra.v1.event_service_pb2 import Event
from orchestra.v1.system_service_pb2 import GetStatusResponse

_COLOURS = {
    "pending": "cyan",
    "running": "green",
    "needs_input": "magenta",
    "stuck": "yellow",
    "completed": "dim",
    "failed": "red",
    "stopped": "dim",
}
_EVENTS = 8
_AGENTS = 200
# Number of lines other than agents and events.
_FRAME = 7


@click.command(name="top")
@click.option("--interval", type=Duration(0.2, 60), default=1.0, show_default=True, help="Seconds between updates.")
@click.option("--once", is_flag=True, help="Print once and exit.")
@project_option
@connected
def command(client: Client, interval: float, once: bool, project_id: str) -> None:
    """Show a live view of agents, the queue and events; press Ctrl-C to exit."""
    screen = out.console()
    if not screen.is_terminal:
        # Do not truncate values in a pipe.
        screen = Console(no_color=True, highlight=False, width=_UNLIMITED_WIDTH)
    if once or not screen.is_terminal:
        with screen.capture() as captured:
            screen.print(_render(client, project_id, screen, everything=True))
        echo("\n".join(line.rstrip() for line in captured.get().splitlines()), styled=True)
        return
    with Live(_render(client, project_id, screen), console=screen, screen=True, auto_refresh=False) as live:
        try:
            while True:
                time.sleep(interval)
                live.update(_render(client, project_id, screen), refresh=True)
        except KeyboardInterrupt:
            return


def _render(client: Client, project_id: str, screen: Console, *, everything: bool = False) -> RenderableType:
    answer = client.agents.list(project_id=project_id, limit=_AGENTS)
    events = [each.message for each in client.events.list(project_id=project_id, limit=_EVENTS).events]
    # Active agents first, each part newest first.
    agents = sorted(answer.agents, key=lambda agent: status_of(agent) in ENDED)
    if not everything:
        agents = agents[: max(1, screen.height - _FRAME - len(events))]
    most = f"/{answer.max_concurrent}" if answer.max_concurrent else ""
    head = Text(f"{answer.running}{most} running  {answer.queued} queued  ", style="bold")
    head.append(_statistics(client.status()), style="dim")
    width = screen.width
    return Group(head, _table(agents, _AGENT_COLUMNS, width), Text(), _table(events, _EVENT_COLUMNS, width))


def _statistics(status: GetStatusResponse) -> str:
    performance, events = status.performance, status.events
    return (
        f"{performance.requests_per_second:.1f} calls/s  p99 {performance.p99_response_time_ms:.1f} ms  "
        f"{int(events.total_published)} events  {events.active_subscriptions} subscriptions"
    )


class _Column(NamedTuple):
    """A table column. ``width`` 0 shares the remaining space; it is hidden on screens narrower than ``screen``."""

    name: str
    width: int
    read: Callable[[Any], str | Text]
    screen: int = 0


def _status(agent: Agent) -> Text:
    status = status_of(agent)
    return Text(status, style=_COLOURS.get(status, ""))


def _tokens(agent: Agent) -> str:
    tokens = agent.usage.input_tokens + agent.usage.output_tokens
    return f"{tokens:.0f}" if tokens else ""


def _table(rows: Sequence[Any], columns: Sequence[_Column], width: int) -> Table:
    """Returns a table with one line per row."""
    shown = [column for column in columns if width >= column.screen]
    whole = width == _UNLIMITED_WIDTH
    table = Table(box=None, pad_edge=False, expand=not whole, header_style="bold")
    for column in shown:
        fixed = None if whole else column.width or None
        ratio = None if whole or column.width else 1
        table.add_column(column.name, no_wrap=True, overflow="ellipsis", width=fixed, ratio=ratio)
    for row in rows:
        cells = (column.read(row) for column in shown)
        table.add_row(*(cell if isinstance(cell, Text) else Text(one_line(cell)) for cell in cells))
    return table


def _short(agent_id: str) -> str:
    """Returns the type and the first part of the UUID, enough to tell agents apart."""
    parts = agent_id.split("-")
    return "-".join(parts[:-4]) if len(parts) > 5 else agent_id


def _age(agent: Agent) -> str:
    seconds = max(0, int(time.time() - agent.status_since.seconds))
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def _progress(agent: Agent) -> str:
    percent = f"{agent.progress.percent:.0f} % " if agent.progress.HasField("percent") else ""
    return percent + agent.progress.message


def _time(event: Event) -> str:
    return f"{datetime.fromtimestamp(event.timestamp.seconds, UTC).astimezone():%H:%M:%S}"


def _event_text(event: Event) -> str:
    """Returns the agent, and the reason or the question, if the event has them; otherwise all data."""
    data = codec.struct_to_dict(event.data)
    said = next((data[name] for name in ("reason", "question") if isinstance(data.get(name), str)), None)
    if isinstance(data.get("agent_id"), str) and said is not None:
        return one_line(f"{_short(data['agent_id'])}: {said}")
    return codec.to_json(event.data).decode()


# Wider than any line, so that nothing is truncated.
_UNLIMITED_WIDTH = 10_000
_WIDE, _MEDIUM = 110, 70
_AGENT_COLUMNS = (
    _Column("agent", 26, lambda agent: _short(agent.agent_id)),
    _Column("status", 11, _status),
    _Column("since", 5, _age),
    _Column("issue", 12, lambda agent: str(agent.issue_id), _MEDIUM),
    _Column("task", 0, lambda agent: str(agent.task), _MEDIUM),
    _Column("progress", 10, _progress, _WIDE),
    _Column("tokens", 6, _tokens, _WIDE),
    _Column("reason", 0, lambda agent: Text(one_line(agent.reason), style="dim")),
)
_EVENT_COLUMNS = (
    _Column("time", 8, _time),
    _Column("event", 24, lambda event: str(event.event_type)),
    _Column("topic", 14, lambda event: str(event.topic), _WIDE),
    _Column("publisher", 22, lambda event: _short(event.publisher), _MEDIUM),
    _Column("data", 0, lambda event: Text(_event_text(event), style="dim")),
)
