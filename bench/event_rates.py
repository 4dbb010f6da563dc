"""Fan-out at rates for which Python clients are too slow: the clients are in C++ (`make bench-event-rates`)."""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.event_clients import PAYLOAD, SUBJECT
from bench.event_peers import PEERS
from bench.events import SUBSCRIBERS, WARM_SECONDS, cpu_seconds

from orchestra.v1 import event_service_pb2 as pb

CLIENT = Path(__file__).resolve().parents[1] / ".build" / "event_client"
# The client replaces it by the time of the call.
_STAMP = "T" * 20


def measure(rate: float, seconds: float) -> dict[str, Any]:
    """Milliseconds, and CPU as a share of one core."""
    directory = Path(tempfile.mkdtemp(prefix="bench-event-rates-"))
    running = PEERS[0].start(directory)
    try:
        tokens, subscribe, publish = (directory / name for name in ("tokens", "subscribe", "publish"))
        tokens.write_text("\n".join(running.address["tokens"]))
        wanted = pb.SubscribeRequest(topics=[SUBJECT], filter=running.address["filter"])
        subscribe.write_bytes(wanted.SerializeToString())
        event = pb.PublishEventRequest(event_type="task_completed", topic=SUBJECT, correlation_id=_STAMP)
        event.data.update(PAYLOAD)
        publish.write_bytes(event.SerializeToString())
        times = [str(WARM_SECONDS), str(seconds)]
        target = running.address["grpc"]
        subscribers = subprocess.Popen(
            [CLIENT, "subscribe", target, tokens, subscribe, str(SUBSCRIBERS), *times],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert subscribers.stdout is not None
        subscribers.stdout.readline()
        publisher = subprocess.Popen(
            [CLIENT, "publish", target, tokens, publish, str(rate), *times], stdout=subprocess.PIPE, text=True
        )
        time.sleep(WARM_SECONDS)
        before = cpu_seconds(running.pid)
        time.sleep(seconds)
        cpu = (cpu_seconds(running.pid) - before) / seconds
        published = json.loads(publisher.communicate(timeout=60)[0])
        received = json.loads(subscribers.communicate(timeout=60)[0])
        return {"cpu": cpu} | received | {f"ack_{name}": value for name, value in published.items()}
    finally:
        running.stop()
        shutil.rmtree(directory, ignore_errors=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rates", default="500,1000,2000")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    print(f"{SUBSCRIBERS} subscribers, one event a call, C++ clients, medians of {chosen.rounds}")
    for rate in map(float, chosen.rates.split(",")):
        runs = [measure(rate, chosen.seconds) for _ in range(chosen.rounds)]
        middle = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
        received = f"{middle['deliveries']:9,.0f} deliveries/s in {middle['messages']:7,.0f} messages/s"
        times = f"p50 {middle['p50']:5.1f}, p99 {middle['p99']:5.1f} ms"
        acknowledged = (
            f"{middle['ack_acknowledged']:6,.0f}/s, p50 {middle['ack_p50']:4.1f}, p99 {middle['ack_p99']:5.1f}"
        )
        lost = f"{max(run['gaps'] for run in runs)} gaps, {max(run['ack_failed'] for run in runs)} failed"
        print(
            f"  {rate:6,.0f}/s: {received}, {times}; acknowledged {acknowledged} ms; CPU {middle['cpu']:4.0%}; {lost}"
        )


if __name__ == "__main__":
    main()
