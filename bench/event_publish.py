"""Durable publishing beside JetStream and Redis Streams, which also sync before they acknowledge, in one run:
`make bench-event-publish`.

One Python client publishes 100 events at a time and waits for the acknowledgements of at most 400, each peer in its
fastest way; all peers in turn, several rounds, medians.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from bench.event_peers import PEERS, Peer
from bench.events import client_process, cpu_seconds, read_line

_BY_NAME = {peer.name: peer for peer in PEERS}
_SIDECAR = _BY_NAME["sidecar"]
CHOSEN = [
    replace(_SIDECAR, name="sidecar, stub, one stream", kind="sidecar-stub"),
    replace(_SIDECAR, name="sidecar, SDK, publish_many", kind="sidecar"),
    replace(_BY_NAME["sidecar on JetStream"], name="sidecar on JetStream, stub", kind="sidecar-stub"),
    replace(_SIDECAR, name="sidecar, REST, arrays", kind="sidecar-rest", python=_BY_NAME["NATS"].python),
    replace(_BY_NAME["JetStream, always"], name="JetStream, always, publish_async"),
    replace(_BY_NAME["Redis Streams, always"], name="Redis, always, pipelined XADD"),
]


def measure(peer: Peer, seconds: float) -> tuple[float, float, float]:
    """Returns events a second, and the CPU of the server and of the client as shares of one core."""
    directory = Path(tempfile.mkdtemp(prefix="bench-publish-"))
    running = peer.start(directory)
    try:
        publisher = client_process(peer, "flood", seconds, address=running.address)
        read_line(publisher)
        before, at = cpu_seconds(running.pid), time.monotonic()
        told = json.loads(read_line(publisher))
        took = time.monotonic() - at
        return told["rate"], (cpu_seconds(running.pid) - before) / took, told["cpu"] / took
    finally:
        running.stop()
        shutil.rmtree(directory, ignore_errors=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    peers = [peer for peer in CHOSEN if peer.installed]
    measured: dict[str, list[tuple[float, float, float]]] = {peer.name: [] for peer in peers}
    for _ in range(chosen.rounds):
        for peer in peers:
            measured[peer.name].append(measure(peer, chosen.seconds))
    print(f"events published a second, medians of {chosen.rounds}")
    for name, figures in measured.items():
        rate, cpu, client = map(statistics.median, zip(*figures, strict=True))
        each = " ".join(f"{figure[0]:.0f}" for figure in figures)
        print(f"  {name:<34}{rate:9,.0f}{cpu:7.0%}{client:7.0%}   {each}")


if __name__ == "__main__":
    main()
