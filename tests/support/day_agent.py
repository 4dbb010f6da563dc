"""An agent that works all day: on every turn that the test announces, it makes its calls on both transports and records
the outcomes. A separate program that runs under the sidecar.

    day_agent.py KIND DIRECTORY

    environment   always uses the JWT_TOKEN of its environment
    file          reads JWT_TOKEN_FILE before each call
    sdk           cco_sidecar.client.Client with its defaults
    refreshing    POST /api/tokens/refresh when its own token has at most five minutes left
    family        several programs of one agent: two SDK clients, and one that keeps the JWT_TOKEN of its environment

DIRECTORY holds ``clock`` (the offset of every clock here, in seconds), ``turn`` (the number of the turn) and ``<agent
id>.jsonl``: one line per turn, ``{turn, calls: [[transport, call, outcome]], token, heard, lost}``.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc

from cco_sidecar.client import Client
from cco_sidecar.client.connection import claims_of
from cco_sidecar.core.errors import SidecarError
from orchestra.v1 import event_service_pb2 as pb
from orchestra.v1 import event_service_pb2_grpc as stubs

REFRESH_SECONDS = 300
PAUSE_SECONDS = 0.02
_EVENT = "turn"

machine_time = time.time


def read(path: Path) -> str:
    return path.read_text().strip() if path.exists() else ""


class Worker:
    """``token`` is the token of the next call."""

    def __init__(self) -> None:
        self.url = os.environ["SIDECAR_URL"]
        self.own = os.environ["JWT_TOKEN"]
        self.calls: list[tuple[str, str, str]] = []
        self.heard: list[int] = []
        # Why an open stream ended, if one did.
        self.lost: list[str] = []
        self.channel = grpc.insecure_channel(os.environ["SIDECAR_GRPC"])
        self.events = stubs.EventServiceStub(self.channel)

    def token(self) -> str:
        return self.own

    def start(self) -> None:
        """Opens the stream that stays open all day."""
        metadata = [("authorization", f"Bearer {self.token()}")]
        stream = self.events.Subscribe(pb.SubscribeRequest(event_types=[_EVENT], since="0"), metadata=metadata)
        threading.Thread(target=self.listen, args=(stream,), daemon=True).start()

    def listen(self, stream: Any) -> None:
        try:
            for batch in stream:
                self.heard += [int(event.data["turn"]) for event in batch.events]
            self.lost.append("it ended")
        except grpc.RpcError as problem:
            self.lost.append(str(problem.details()))

    def work(self, *, writes: bool, publishes: bool) -> None:
        issue, kind, agent = os.environ["ISSUE_ID"], os.environ["AGENT_TYPE"], os.environ["AGENT_ID"]
        self.rest("GET", "/events?limit=1")
        self.rest("GET", f"/context/{issue}/{kind}")
        self.rest("POST", f"/agents/{agent}/heartbeat", {"message": "at work"})
        if writes:
            result = {"status": "success", "decisions": ["worked"]}
            self.rest("POST", "/results", {"agent_type": kind, "issue_id": issue, "result": result})
        if publishes:
            self.rest("POST", "/events/worked", {"topic": "coordination", "data": {"issue_id": issue}})
        self.rest("GET", "/events/wait/never?timeout=100")
        self.grpc()

    def rest(self, method: str, path: str, body: Any = None, token: str = "") -> Any:
        headers = {"Authorization": f"Bearer {token or self.token()}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, method=method, headers=headers, data=data)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                self.calls.append(("REST", f"{method} {path}", "ok"))
                return json.load(answer)
        except urllib.error.HTTPError as refusal:
            self.calls.append(("REST", f"{method} {path}", f"{refusal.code} {refusal.read().decode()[:200]}"))
            return None

    def grpc(self) -> None:
        self.attempt(
            "ListEvents",
            lambda: self.events.ListEvents(
                pb.ListEventsRequest(limit=1),
                metadata=[("authorization", f"Bearer {self.token()}")],
                timeout=60,
                wait_for_ready=True,
            ),
        )

    def attempt(self, name: str, call: Callable[[], Any]) -> None:
        try:
            call()
            outcome = "ok"
        except grpc.RpcError as problem:
            outcome = f"{problem.code().name} {problem.details()}"
        except SidecarError as problem:
            outcome = f"{problem.code} {problem.message}"
        self.calls.append(("gRPC", name, outcome))


class FileWorker(Worker):
    def token(self) -> str:
        return Path(os.environ["JWT_TOKEN_FILE"]).read_text().strip()


class RefreshingWorker(Worker):
    def start(self) -> None:
        """It opens no stream, because a stream ends with its token."""

    def work(self, *, writes: bool, publishes: bool) -> None:
        if claims_of(self.own)["exp"] - time.time() <= REFRESH_SECONDS:
            answer = self.rest("POST", "/tokens/refresh", {})
            self.own = answer["jwt_token"] if answer else self.own
        super().work(writes=writes, publishes=publishes)


class SdkWorker(Worker):
    def __init__(self) -> None:
        super().__init__()
        self.client = Client()

    def token(self) -> str:
        return self.client.token

    def start(self) -> None:
        def listen() -> None:
            try:
                for event in self.client.events.subscribe(event_types=[_EVENT], since="0"):
                    self.heard.append(int(event.data["turn"]))
            except SidecarError as problem:
                self.lost.append(f"{problem.code} {problem.message}")

        threading.Thread(target=listen, daemon=True).start()

    def work(self, *, writes: bool, publishes: bool) -> None:
        client = self.client
        self.attempt("events.list", lambda: client.events.list(limit=1))
        self.attempt("context.get", client.context.get)
        if writes:
            self.attempt("results.create", lambda: client.results.create({"status": "success", "decisions": ["x"]}))
        if publishes:
            self.attempt("events.publish", lambda: client.events.publish("worked", {}, topic="coordination"))
        self.attempt("events.wait", lambda: client.events.wait("never", timeout=0.1))


class FamilyWorker(SdkWorker):
    def __init__(self) -> None:
        super().__init__()
        self.other = Client()

    def work(self, *, writes: bool, publishes: bool) -> None:
        super().work(writes=writes, publishes=publishes)
        self.attempt("events.list of the other client", lambda: self.other.events.list(limit=1))
        self.rest("GET", "/events?limit=1", token=self.own)


KINDS: dict[str, type[Worker]] = {
    "environment": Worker,
    "file": FileWorker,
    "sdk": SdkWorker,
    "refreshing": RefreshingWorker,
    "family": FamilyWorker,
}


def main(kind: str, directory: Path) -> None:
    time.time = lambda: machine_time() + float(read(directory / "clock") or 0)  # type: ignore[assignment]
    may = json.loads(os.environ["MAY"])
    worker = KINDS[kind]()
    worker.start()
    done = 0
    journal = directory / f"{os.environ['AGENT_ID']}.jsonl"
    while True:
        turn = int(read(directory / "turn") or 0)
        if turn == done:
            time.sleep(PAUSE_SECONDS)
            continue
        worker.calls = []
        worker.work(writes="write_results" in may, publishes="publish_events" in may)
        done = turn
        line = {
            "turn": turn,
            "calls": worker.calls,
            "token": worker.token(),
            "heard": worker.heard,
            "lost": worker.lost,
        }
        with journal.open("a") as file:
            file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
