"""What 1,000 to 1,000,000 agents need, from what was measured: `python -m bench.scale_model`.

Each figure under `Measured` has its source; each under `Assumed` is a guess about a team's work, to be replaced by your
own (`python -m bench.scale_model --runs 6 --events 20`). The model multiplies; it does not know what it was not told.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass, fields

_HOUR = 3600.0
_DAY = 24 * _HOUR


@dataclass(frozen=True)
class Assumed:
    """The work of one agent."""

    # Runs an hour, each with one context of another task.
    runs: float = 3
    # Events published, and heartbeats sent, in a run.
    events: float = 6
    heartbeats: float = 60
    # Results of a run, and the bytes of one with its text.
    results: float = 1
    result_bytes: float = 6000
    event_bytes: float = 600
    # Bytes of output of a run, which stay on the machine that ran it.
    output_bytes: float = 300_000
    # Agents on one issue: they read each other's events.
    readers: float = 8
    # Agents in one project: a project is a stream.
    per_project: float = 500
    # Days that results, and hours that events, are kept.
    result_days: float = 90
    event_hours: float = 24


@dataclass(frozen=True)
class Measured:
    """On two cores of a cloud machine; docs/benchmarks.md has the commands."""

    # CPU seconds of a context of another task, and bytes sent for one (`make bench-context`).
    context_seconds: float = 0.075
    context_bytes: float = 128_000
    # CPU seconds of a sidecar for an event that is published alone (`make bench-cluster`), and for one that is
    # delivered (`make bench-event-rates`).
    publish_seconds: float = 0.0006
    deliver_seconds: float = 0.000015
    # CPU seconds of a call such as a heartbeat, and of a result (`make bench`).
    call_seconds: float = 0.0004
    result_seconds: float = 0.003
    # Messages a second that one stream syncs (`make bench-event-publish`).
    stream_rate: float = 4700
    # Transactions a second that PostgreSQL commits for sidecars that group them (tests/cluster, on one disk).
    database_rate: float = 5000
    # Bytes of memory for a connection that waits (`make bench-many`), and of a sidecar without any.
    connection_bytes: float = 45_000
    sidecar_bytes: float = 180e6
    # Memory of a project's newest events in each sidecar (events.max_memory_mb), if it is used up.
    project_bytes: float = 64e6


@dataclass(frozen=True)
class Machine:
    """What a sidecar may use, and what it costs, in US dollars a month."""

    cores: float = 4
    memory: float = 16e9
    # A core is used up to here, so that a burst does not wait.
    share: float = 0.5
    dollars: float = 120
    gigabyte_dollars: float = 0.1
    # Files that one process may have open, less some.
    connections: float = 50_000


@dataclass(frozen=True)
class Needs:
    """For a number of agents. Rates are a second."""

    agents: int
    events: float
    deliveries: float
    contexts: float
    results: float
    calls: float
    cores: float
    sidecars: int
    connections: float
    streams: int
    followers: int
    memory_of_events: float
    records: float
    event_store: float
    network: float
    dollars: float
    breaks: str


def needs(agents: int, work: Assumed, known: Measured, machine: Machine) -> Needs:
    runs = agents * work.runs / _HOUR
    events, results, contexts, calls = runs * work.events, runs * work.results, runs, runs * work.heartbeats
    deliveries = events * work.readers
    # One thread serves calls; contexts are made by processes beside it.
    served = (
        events * known.publish_seconds
        + deliveries * known.deliver_seconds
        + results * known.result_seconds
        + calls * known.call_seconds
    )
    made = contexts * known.context_seconds
    streams = math.ceil(agents / work.per_project)
    cores = (served + made) / machine.share
    by_calls, by_contexts = served / machine.share, made / machine.share / (machine.cores - 1)
    by_connections = agents / machine.connections
    sidecars = max(2, math.ceil(max(by_calls, by_contexts, by_connections)))
    # Every sidecar follows every stream, and keeps what it may of it: no more than a project publishes.
    kept = min(known.project_bytes, work.per_project * work.runs * work.events * work.event_bytes * work.event_hours)
    records = results * work.result_days * _DAY * work.result_bytes
    event_store = events * work.event_hours * _HOUR * work.event_bytes * 3
    network = contexts * known.context_bytes + deliveries * work.event_bytes
    limits = {
        "one stream (a project's events)": work.per_project * work.runs * work.events / _HOUR / known.stream_rate,
        "commits of PostgreSQL": (results * 3 + runs * 4) / known.database_rate,
        "memory for events in each sidecar": streams * kept / (machine.memory / 2),
        "the leader (consumers, hand-over rules)": events * known.deliver_seconds * 3 / (machine.share * 1),
        "followers of streams in NATS": streams * sidecars / 100_000,
        "records in one database": records / 4e12,
    }
    worst, filled = max(limits.items(), key=lambda each: each[1])
    return Needs(
        agents,
        events,
        deliveries,
        contexts,
        results,
        calls,
        cores,
        sidecars,
        agents,
        streams,
        streams * sidecars,
        streams * kept,
        records,
        event_store,
        network,
        sidecars * machine.dollars + (records + event_store) / 1e9 * machine.gigabyte_dollars,
        f"{worst}, at {filled:.0%}",
    )


def table(rows: list[Needs]) -> str:
    def line(name: str, shown: list[str]) -> str:
        return f"| {name} | " + " | ".join(shown) + " |"

    figures = {
        "events a second": lambda row: f"{row.events:,.0f}",
        "deliveries a second": lambda row: f"{row.deliveries:,.0f}",
        "contexts a second": lambda row: f"{row.contexts:,.1f}",
        "results a second": lambda row: f"{row.results:,.1f}",
        "other calls a second": lambda row: f"{row.calls:,.0f}",
        "cores for sidecars": lambda row: f"{row.cores:,.1f}",
        "sidecars": lambda row: f"{row.sidecars:,}",
        "open connections": lambda row: f"{row.connections:,.0f}",
        "streams; followers of them": lambda row: f"{row.streams:,}; {row.followers:,}",
        "memory for events, each sidecar": lambda row: _bytes(row.memory_of_events),
        "records": lambda row: _bytes(row.records),
        "events in NATS, three copies": lambda row: _bytes(row.event_store),
        "network a second": lambda row: _bytes(row.network),
        "US dollars a month, without agents": lambda row: f"{row.dollars:,.0f}",
        "fullest part": lambda row: row.breaks,
    }
    lines = [line("agents", [f"{row.agents:,}" for row in rows]), "|---|" + "---|" * len(rows)]
    return "\n".join([*lines, *(line(name, [show(row) for row in rows]) for name, show in figures.items())])


def _bytes(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:,.3g} TB"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for each in fields(Assumed):
        parser.add_argument(f"--{each.name.replace('_', '-')}", type=float, default=each.default)
    work = Assumed(**vars(parser.parse_args()))
    print(table([needs(agents, work, Measured(), Machine()) for agents in (1_000, 10_000, 100_000, 1_000_000)]))


if __name__ == "__main__":
    main()
