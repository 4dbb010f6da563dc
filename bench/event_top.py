"""The most deliveries a second to 119 subscribers, beside AutoGen's gRPC host and a bare grpc.aio service that sends
each event in a message of its own: `make bench-event-top`.

Each peer is tried at several rates, and with all that one publisher can send; its best counts. The subscribers are in
C++ where the protocol is gRPC's own, because Python clients would be the limit; AutoGen has its own workers.
"""

from __future__ import annotations

import argparse
import array
import json
import shutil
import statistics
import subprocess
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from bench.event_clients import SUBJECT
from bench.event_peers import PEERS, Peer, Running
from bench.event_rates import CLIENT
from bench.events import SUBSCRIBERS, WARM_SECONDS, client_process, read_line

from orchestra.v1 import event_service_pb2 as pb

_BY_NAME = {peer.name: peer for peer in PEERS}
FLOOD = 0.0
CHOSEN = {
    replace(_BY_NAME["sidecar"], kind="sidecar-stub"): (FLOOD,),
    _BY_NAME["grpc.aio, bare"]: (FLOOD,),
    _BY_NAME["AutoGen gRPC host"]: (50.0, 100.0, 200.0, FLOOD),
}


def measure(peer: Peer, rate: float, seconds: float) -> tuple[float, int]:
    """Returns deliveries a second, and how many events did not follow the one before."""
    directory = Path(tempfile.mkdtemp(prefix="bench-top-"))
    running = peer.start(directory)
    in_python = peer.kind == "autogen"
    out = directory / "times"
    if in_python:
        subscribers = client_process(peer, "subscribe", SUBSCRIBERS, 0, out, address=running.address)
    else:
        subscribers = _cpp_subscribers(running, directory, seconds)
    publisher = None
    try:
        read_line(subscribers)
        length = WARM_SECONDS + seconds + 2
        role = ("flood", length) if rate == FLOOD else ("publish", rate, length)
        publisher = client_process(peer, *role, address=running.address)
        read_line(publisher)
        began = time.monotonic_ns()
        if not in_python:
            told = json.loads(read_line(subscribers))
            return told["deliveries"], told["gaps"]
        time.sleep(WARM_SECONDS + seconds)
        assert subscribers.stdin is not None
        subscribers.stdin.write("\n")
        subscribers.stdin.flush()
        missing = len(json.loads(read_line(subscribers))["broken"])
        times = array.array("q", out.read_bytes())[1::2]
        begin, end = (began + int(at * 1e9) for at in (WARM_SECONDS, WARM_SECONDS + seconds))
        return sum(begin <= at < end for at in times) / seconds, missing
    finally:
        for process in (subscribers, publisher):
            if process is not None:
                process.kill()
                process.wait()
        running.stop()
        shutil.rmtree(directory, ignore_errors=True)


def _cpp_subscribers(running: Running, directory: Path, seconds: float) -> subprocess.Popen[str]:
    tokens, wanted = directory / "tokens", directory / "subscribe"
    tokens.write_text("\n".join(running.address.get("tokens", ["none"])))
    request = pb.SubscribeRequest(topics=[SUBJECT], filter=running.address.get("filter", ""))
    wanted.write_bytes(request.SerializeToString())
    command = [CLIENT, "subscribe", running.address["grpc"], tokens, wanted, SUBSCRIBERS, WARM_SECONDS, seconds]
    return subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    print(f"deliveries a second to {SUBSCRIBERS} subscribers, medians of {chosen.rounds}")
    for peer, rates in CHOSEN.items():
        if not peer.installed:
            print(f"skipped, not installed: {peer.name}")
            continue
        runs = {rate: [measure(peer, rate, chosen.seconds) for _ in range(chosen.rounds)] for rate in rates}
        middle = {rate: statistics.median(deliveries for deliveries, _ in each) for rate, each in runs.items()}
        missing = sum(missing for each in runs.values() for _, missing in each)
        each = ", ".join(f"{f'{rate:g}/s' if rate else 'flood'}: {value:,.0f}" for rate, value in middle.items())
        print(f"  {peer.name:<20}{max(middle.values()):10,.0f}   {each}; {missing} not in order")


if __name__ == "__main__":
    main()
