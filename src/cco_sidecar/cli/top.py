"""`cco top`: agents, events and the queue, live."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime

import click
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from cco_sidecar.cli import output as out
from cco_sidecar.cli.agent import status_of
from cco_sidecar.cli.connect import connected
from cco_sidecar.client import Client
from cco_sidecar.core import codec
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
_ENDED = ("completed", "failed", "stopped")
_EVENTS = 8
_AGENTS = 200
# Lines that are neither agents nor events.
_FRAME = 7


@click.command(name="top")
@click.option("--interval", type=click.FloatRange(0.2, 60), default=1.0, show_default=True, help="Seconds.")
@click.option("--once", is_flag=True, help="Print one picture and return.")
@click.option("--project", default="")
@connected
def command(client: Client, interval: float, once: bool, project: str) -> None:
    """Watch the agents, the queue and the events; Ctrl-C ends it."""
    screen = out.console()
    if once or not screen.is_terminal:
        screen.print(_picture(client, project, screen, everything=True))
        return
    with Live(_picture(client, project, screen), console=screen, screen=True, auto_refresh=False) as live:
        try:
            while True:
                time.sleep(interval)
                live.update(_picture(client, project, screen), refresh=True)
        except KeyboardInterrupt:
            return


def _picture(client: Client, project: str, screen: Console, *, everything: bool = False) -> RenderableType:
    answer = client.agents.list(project=project, limit=_AGENTS)
    events = client.events.list(project=project, limit=_EVENTS).events
    # Those that live first; newest first among equals.
    agents = sorted(answer.agents, key=lambda agent: status_of(agent) in _ENDED)
    if not everything:
        agents = agents[: max(1, screen.height - _FRAME - len(events))]
    most = f"/{answer.max_concurrent}" if answer.max_concurrent else ""
    head = Text(f"{answer.running}{most} running  {answer.queued} queued  ", style="bold")
    head.append(_figures(client.status()), style="dim")
    return Group(head, _agents(agents), Text(), _events(events))


def _figures(status: GetStatusResponse) -> str:
    performance, events = status.performance, status.events
    return (
        f"{performance.requests_per_second:.1f} calls/s  p99 {performance.p99_response_time_ms:.1f} ms  "
        f"{int(events.total_published)} events  {events.active_subscriptions} subscriptions"
    )


def _agents(agents: Sequence[Agent]) -> Table:
    table = _table(agent=26, status=11, since=5, issue=12, progress=10, tokens=6, reason=0)
    for agent in agents:
        status = status_of(agent)
        tokens = agent.usage.input_tokens + agent.usage.output_tokens
        table.add_row(
            _plain(_short(agent.agent_id)),
            Text(status, style=_COLOURS.get(status, "")),
            _age(agent),
            _plain(agent.issue_id),
            _plain(_progress(agent)),
            f"{tokens:.0f}" if tokens else "",
            _plain(agent.reason, "dim"),
        )
    return table


def _table(**columns: int) -> Table:
    """One line a row; a column's width, or 0 for what is left."""
    table = Table(box=None, pad_edge=False, expand=True, header_style="bold")
    for name, width in columns.items():
        table.add_column(name, no_wrap=True, overflow="ellipsis", width=width or None, ratio=None if width else 1)
    return table


def _plain(text: str, style: str = "") -> Text:
    """What agents say: no markup, and nothing that a terminal would obey."""
    return Text("".join(char if char.isprintable() else " " for char in text), style=style)


def _short(agent_id: str) -> str:
    """The type and the first part of the uuid: as much as a person needs to tell two apart."""
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


def _events(events: Sequence[Event]) -> Table:
    table = _table(time=8, event=24, topic=14, publisher=22, data=0)
    for event in events:
        moment = datetime.fromtimestamp(event.timestamp.seconds, UTC).astimezone()
        table.add_row(
            f"{moment:%H:%M:%S}",
            _plain(event.event_type),
            _plain(event.topic),
            _plain(_short(event.publisher)),
            _plain(codec.to_json(event.data).decode(), "dim"),
        )
    return table
