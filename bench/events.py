"""The event engine beside brokers, in one run: `make bench-events`.

Fan-out: 119 subscribers in two processes, one publisher that waits for acknowledgements; each peer's usual Python
client, all peers in turn, several rounds, medians. Latencies are from the call of the publisher to the subscriber's
handler, of all deliveries.
"""

from __future__ import annotations

import argparse
import array
import importlib
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.event_peers import PEERS, Peer
from bench.plot import Bar, bars

SUBSCRIBERS = 119
PROCESSES = 2
WARM_SECONDS = 1.0
# How long deliveries may take after the last publish.
_GRACE = 5.0
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Figures:
    """One measurement. Milliseconds, and CPU as a share of one core."""

    p50: float
    p99: float
    acknowledged_p50: float
    acknowledged_p99: float
    cpu: float
    client_cpu: float
    published: float
    missing: int
    problems: list[str]


def cpu_seconds(pid: int) -> float:
    """User and system time of a process, with its children that run."""
    total = 0.0
    for each in [pid, *_descendants(pid)]:
        fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
        total += (int(fields[11]) + int(fields[12])) / _TICKS
    return total


def _descendants(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += [int(child), *_descendants(int(child))]
    return found


def percentile(values: Any, share: float) -> float:
    return float(values[min(len(values) - 1, int(len(values) * share))]) / 1e6 if values else float("nan")


def client_process(peer: Peer, *arguments: object, address: dict[str, Any]) -> subprocess.Popen[str]:
    """Starts `bench.event_clients`; ``arguments`` begin with the role."""
    role, *rest = map(str, arguments)
    command = [peer.python, "-m", "bench.event_clients", role, peer.kind, json.dumps(address), *rest]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def read_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise RuntimeError("a client ended early")
    return line


def fan_out(peer: Peer, rate: float, seconds: float) -> Figures:
    directory = Path(tempfile.mkdtemp(prefix="bench-events-"))
    running = peer.start(directory)
    subscribers = []
    try:
        share = -(-SUBSCRIBERS // PROCESSES)
        for first in range(0, SUBSCRIBERS, share):
            count = min(share, SUBSCRIBERS - first)
            out = directory / f"{first}.times"
            process = client_process(peer, "subscribe", count, first, out, address=running.address)
            subscribers.append((process, out))
        for process, _ in subscribers:
            read_line(process)
        publisher = client_process(peer, "publish", rate, WARM_SECONDS + seconds, address=running.address)
        read_line(publisher)
        time.sleep(WARM_SECONDS)
        before, at = cpu_seconds(running.pid), time.monotonic()
        told = json.loads(read_line(publisher))
        cpu = (cpu_seconds(running.pid) - before) / (time.monotonic() - at)
        expected = SUBSCRIBERS * len(told["acknowledged"])
        return _gathered(subscribers, told, cpu, expected, seconds)
    finally:
        for process, _ in subscribers:
            process.kill()
            process.wait()
        running.stop()
        shutil.rmtree(directory, ignore_errors=True)


def _gathered(
    subscribers: list[tuple[subprocess.Popen[str], Path]],
    told: dict[str, Any],
    cpu: float,
    expected: int,
    seconds: float,
) -> Figures:
    time.sleep(1.0)
    times = array.array("q")
    problems: list[str] = list(told["failed"])
    client_cpu = 0.0
    for process, out in subscribers:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
        said = json.loads(read_line(process))
        client_cpu += said["cpu"]
        problems += said["broken"]
        with open(out, "rb") as file:
            times.frombytes(file.read())
    since = told["began"] + WARM_SECONDS * 1e9
    latencies = sorted(
        arrived - published for published, arrived in zip(times[::2], times[1::2], strict=True) if published >= since
    )
    acknowledged = told["acknowledged"]
    return Figures(
        percentile(latencies, 0.5),
        percentile(latencies, 0.99),
        percentile(acknowledged, 0.5),
        percentile(acknowledged, 0.99),
        cpu,
        client_cpu / (seconds + WARM_SECONDS),
        told["rate"],
        expected - len(times) // 2,
        problems,
    )


def median(figures: list[Figures], name: str) -> float:
    return statistics.median(getattr(each, name) for each in figures)


def fan_out_table(peers: list[Peer], rate: float, seconds: float, rounds: int) -> dict[str, list[Figures]]:
    print(f"\n{SUBSCRIBERS} subscribers, {rate:g} events/s, medians of {rounds}")
    print(f"  {'':<24}{'p50':>7}{'p99':>8}{'ack p50':>9}{'ack p99':>9}{'CPU':>7}{'clients':>9}{'missing':>9}   p99s")
    measured: dict[str, list[Figures]] = {peer.name: [] for peer in peers}
    for _ in range(rounds):
        for peer in peers:
            measured[peer.name].append(fan_out(peer, rate, seconds))
    for name, figures in measured.items():
        each = " ".join(f"{figure.p99:.0f}" for figure in figures)
        print(
            f"  {name:<24}{median(figures, 'p50'):7.1f}{median(figures, 'p99'):8.1f}"
            f"{median(figures, 'acknowledged_p50'):9.1f}{median(figures, 'acknowledged_p99'):9.1f}"
            f"{median(figures, 'cpu'):7.0%}{median(figures, 'client_cpu'):9.0%}"
            f"{max(figure.missing for figure in figures):9}   {each}"
        )
        for problem in sorted({problem for figure in figures for problem in figure.problems})[:3]:
            print(f"    {problem}")
    return measured


def _bar(peer: Peer, figures: list[Figures]) -> Bar:
    stored = "on disk" if "before the acknowledgement" in peer.durable else "not on disk"
    return Bar(peer.name, median(figures, "p50"), median(figures, "p99"), stored)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", help="names, separated by semicolons; all when not given")
    parser.add_argument("--also", action="append", default=[], help="a module with more PEERS")
    parser.add_argument("--rates", default="50,200")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--plot", type=Path, help="write a picture of the first rate, as SVG")
    chosen = parser.parse_args()
    known = [*PEERS, *(peer for module in chosen.also for peer in importlib.import_module(module).PEERS)]
    wanted = [name.strip() for name in chosen.peers.split(";")] if chosen.peers else [peer.name for peer in known]
    peers = [peer for peer in known if peer.name in wanted and peer.installed]
    for peer in known:
        if peer.name in wanted and not peer.installed:
            print(f"skipped, not installed: {peer.name}")
    print(f"{os.cpu_count()} cores, Python {sys.version.split()[0]}, {platform.system()}")
    for number, rate in enumerate(chosen.rates.split(",")):
        measured = fan_out_table(peers, float(rate), chosen.seconds, chosen.rounds)
        if chosen.plot and number == 0:
            title = f"{SUBSCRIBERS} subscribers, {rate} events/s"
            bars(title, [_bar(peer, measured[peer.name]) for peer in peers], chosen.plot)


if __name__ == "__main__":
    main()
