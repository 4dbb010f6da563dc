"""A cluster under load, and what can be done to it."""

from __future__ import annotations

import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import requests
from tests.cluster.history import History, Run, Seen
from tests.support import postgres
from tests.support.clocked import ClockControl, ClockedSidecar, free_ports
from tests.support.disks import Disk
from tests.support.links import Link
from tests.support.nats import NatsCluster, prefix_of
from tests.support.runners import RunnerProcess, token_for
from tests.support.sidecars import written
from tests.support.team import SECRET

TICKING = Path(__file__).parents[1] / "support" / "ticking.sh"
PROJECT = "chaos"
_PATIENCE = 20.0


class Node:
    """A sidecar with connections, a clock and a disk of its own."""

    def __init__(self, directory: Path, root: Path, database: str, socket: str, nats: NatsCluster, **more: Any) -> None:
        self._root = root
        self.disk = Disk(directory, 512)
        self.to_database, self.to_nats = Link(socket), [Link(("127.0.0.1", each.port)) for each in nats.servers]
        self.clock = ClockControl(directory / "clock")
        self._ports = free_ports()
        self.url, self.grpc_port = f"http://127.0.0.1:{self._ports[0]}", self._ports[1]
        name = database.partition("?")[0].rpartition("/")[2]
        self._environment = {
            "CCO_SIDECAR_DATABASE_URL": f"postgresql://postgres@127.0.0.1:{self.to_database.port}/{name}",
            "CCO_SIDECAR_BUS_URL": ",".join(f"nats://127.0.0.1:{link.port}" for link in self.to_nats),
            "CCO_SIDECAR_BUS_PREFIX": prefix_of(str(directory.parent)),
            "CCO_SIDECAR_JWT_SECRET": SECRET,
        }
        self._config = written(directory / "config.json", **more)
        self.storage = directory / "storage"
        self.process: ClockedSidecar | None = None
        self.start()

    def start(self) -> None:
        self.process = ClockedSidecar(
            self.storage, self._root, self.clock, ports=self._ports, config=self._config, environment=self._environment
        )

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()

    def leave(self) -> None:
        """An orderly end, as before an update: its agents are left to the next process."""
        assert self.process is not None
        self.process.leave()

    def close(self) -> None:
        if self.process is not None and self.process.process.poll() is None:
            self.process.stop()
        for link in (self.to_database, *self.to_nats):
            link.close()
        self.disk.close()


class Runner:
    """A runner with a connection of its own to one of the sidecars, through which it reaches both."""

    def __init__(self, directory: Path, root: Path, node: Node) -> None:
        self._home, self._root, self._node = directory, root, node
        self.link = Link(("127.0.0.1", node.grpc_port))
        assert node.process is not None
        self._token = token_for(node.process, directory.name)
        self.start()

    def start(self) -> None:
        options = ("--tag", "far", "--capacity", "0", "--project", str(self._root))
        self.process = RunnerProcess(
            *(self._home, self._node.url, f"127.0.0.1:{self.link.port}", *options),
            token=self._token,
            environment={"CCO_SIDECAR_SANDBOX": "off"},
        )

    def close(self) -> None:
        self.process.end(signal.SIGKILL)
        self.link.close()


class Cluster:
    """Two sidecars, three NATS servers, one PostgreSQL, two runners."""

    def __init__(self, directory: Path, root: Path, **sections: Any) -> None:
        binaries = postgres.programs()
        assert binaries is not None
        with ExitStack() as opened:
            self.postgres = opened.enter_context(postgres.Cluster(binaries))
            self.nats = NatsCluster(directory / "nats", advertise=False)
            opened.callback(self.nats.stop)
            database = postgres.database_of(self.postgres.url, str(directory))
            socket = f"{self.postgres.url.partition('host=')[2]}/.s.PGSQL.5432"
            self.nodes: list[Node] = []
            for name in ("one", "two"):
                self.nodes.append(Node(directory / name, root, database, socket, self.nats, **sections))
            self.runners = [Runner(directory / f"runner-{each}", root, self.nodes[each]) for each in (0, 1)]
            for runner in self.runners:
                opened.callback(runner.close)
            for node in self.nodes:
                # Before the runners, where their agents end.
                opened.callback(node.close)
            assert self.nodes[0].process is not None
            self.operator = self.nodes[0].process.operator.headers
            self.close = opened.pop_all().close


@dataclass(frozen=True)
class Fault:
    """Something that breaks. ``begin`` returns what ends it; ``seconds``: how long it lasts."""

    name: str
    begin: Callable[[Cluster, random.Random], Callable[[], object]]
    seconds: float


def _kill(cluster: Cluster, chance: random.Random) -> Callable[[], object]:
    node = chance.choice(cluster.nodes)
    node.kill()
    return node.start


def _pause(cluster: Cluster, chance: random.Random) -> Callable[[], object]:
    node = chance.choice(cluster.nodes)
    assert node.process is not None
    process = node.process.process
    process.send_signal(signal.SIGSTOP)
    return lambda: process.send_signal(signal.SIGCONT)


def _cut_from_database(cluster: Cluster, chance: random.Random) -> Callable[[], object]:
    link = chance.choice(cluster.nodes).to_database
    link.cut()
    return link.restore


def _cut_from_nats(cluster: Cluster, chance: random.Random) -> Callable[[], object]:
    links = chance.choice(cluster.nodes).to_nats
    for link in links:
        link.cut()
    return lambda: [link.restore() for link in links]


def _kill_nats(cluster: Cluster, chance: random.Random) -> Callable[[], object]:
    server = chance.choice(cluster.nats.servers)
    server.kill()
    return server.start


def _pause_nats(cluster: Cluster, chance: random.Random) -> Callable[[], object]:
    server = chance.choice(cluster.nats.servers)
    server.pause()
    return server.resume


def _stop_database(cluster: Cluster, chance: random.Random) -> Callable[[], object]:
    cluster.postgres.kill()
    return cluster.postgres.start


def _skew(cluster: Cluster, chance: random.Random) -> Callable[[], object]:
    chance.choice(cluster.nodes).clock.move(minutes=chance.choice((-90, 45)))
    return lambda: None


def _fill_disk(cluster: Cluster, chance: random.Random) -> Callable[[], object]:
    node = chance.choice(cluster.nodes)
    assert node.process is not None
    node.disk.fill(node.process.process.pid)
    return node.disk.free


def _restart_all(cluster: Cluster, chance: random.Random) -> Callable[[], object]:
    for node in cluster.nodes:
        node.leave()
        node.start()
    return lambda: None


def _kill_runner(cluster: Cluster, chance: random.Random) -> Callable[[], object]:
    runner = chance.choice(cluster.runners)
    runner.process.end(signal.SIGKILL)
    return runner.start


def _pause_runner(cluster: Cluster, chance: random.Random) -> Callable[[], object]:
    process = chance.choice(cluster.runners).process.process
    process.send_signal(signal.SIGSTOP)
    return lambda: process.send_signal(signal.SIGCONT)


def _cut_runner(cluster: Cluster, chance: random.Random) -> Callable[[], object]:
    link = chance.choice(cluster.runners).link
    link.cut()
    return link.restore


FAULTS = (
    Fault("kill -9 of a sidecar", _kill, 3),
    Fault("a sidecar stands still", _pause, 15),
    Fault("a sidecar is cut off from PostgreSQL", _cut_from_database, 14),
    Fault("a sidecar is cut off from NATS", _cut_from_nats, 14),
    Fault("kill -9 of a NATS server", _kill_nats, 5),
    Fault("a NATS server stands still", _pause_nats, 10),
    Fault("kill -9 of PostgreSQL", _stop_database, 4),
    Fault("a clock is set", _skew, 5),
    Fault("the disk of a sidecar is full", _fill_disk, 6),
    Fault("each sidecar is restarted", _restart_all, 1),
    Fault("kill -9 of a runner", _kill_runner, 3),
    Fault("a runner stands still", _pause_runner, 24),
    Fault("a runner is cut off from its sidecar", _cut_runner, 14),
)


class Clients:
    """Programs that use the cluster through any sidecar, and try again until they are answered."""

    def __init__(self, cluster: Cluster, seed: int) -> None:
        self._cluster = cluster
        self._seed = seed
        self.history = History()
        self._stop, self._drain = threading.Event(), threading.Event()
        self._threads: list[threading.Thread] = []
        # When something was acknowledged, by kind.
        self.acknowledged: dict[str, list[float]] = {"publish": [], "settle": [], "result": []}
        self.problems: list[str] = []

    @contextmanager
    def running(self) -> Iterator[None]:
        """Starts them; afterwards waits until everything that was published is read."""
        work = [
            *[(self._publish, f"p{number}") for number in range(2)],
            *[(self._read, f"reader {number}") for number in range(2)],
            *[(self._consume, f"w{number}") for number in range(2)],
            (self._store, "r"),
        ]
        self._threads = [threading.Thread(target=self._run, args=each) for each in work]
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in self._threads[:2]:
                thread.join()
            self._threads[-1].join()
            self._drain.set()
            for thread in self._threads:
                thread.join()
            self._collect()

    def call(self, method: str, path: str, chance: random.Random, body: Any = None, **more: Any) -> Any:
        """Asks one sidecar after the other until one answers. What a program would not try again raises."""
        while True:
            node = chance.choice(self._cluster.nodes)
            try:
                answer = requests.request(
                    method, node.url + path, json=body, headers=self._cluster.operator, timeout=_PATIENCE, **more
                )
            except requests.RequestException:
                time.sleep(0.2)
                continue
            if answer.status_code < 400:
                return answer.json()
            if answer.status_code < 500 and answer.status_code not in (408, 429):
                raise RuntimeError(f"{method} {path}: {answer.status_code} {answer.text[:300]}")
            time.sleep(0.2)

    def _run(self, work: Callable[[str, random.Random], None], name: str) -> None:
        try:
            work(name, random.Random(f"{self._seed} {name}"))
        except Exception as problem:
            self.problems.append(f"{name}: {problem}")

    def _publish(self, name: str, chance: random.Random) -> None:
        number = 0
        while not self._stop.is_set():
            number += 1
            key = f"{name}-{number}"
            body = {"project_id": PROJECT, "data": {"key": key}, "idempotency_key": key}
            answer = self.call("POST", "/api/events/happened", chance, body)
            with self.history.lock:
                self.history.published[key] = answer["event_id"]
            self.acknowledged["publish"].append(time.monotonic())
            time.sleep(0.05)

    def _read(self, name: str, chance: random.Random) -> None:
        since, quiet = "0", 0
        while quiet < 3:
            path = f"/api/events/wait?project_id={PROJECT}&since={since}&timeout=2000&event_type=happened"
            answer = self.call("GET", path, chance)
            with self.history.lock:
                for event in answer["events"]:
                    self.history.read[name].append(Seen(event["data"]["key"], event["event_id"]))
                self.history.gaps[name] += answer.get("gap") is not None
            since = answer["next_cursor"] or since
            quiet = quiet + 1 if self._drain.is_set() and not answer["events"] else 0

    def _consume(self, name: str, chance: random.Random) -> None:
        quiet = 0
        while quiet < 4:
            path = f"/api/consumers/chaos/pull?project_id={PROJECT}"
            answer = self.call("POST", path, chance, {"limit": 20, "timeout": 2000})
            taken = answer["deliveries"]
            with self.history.lock:
                self.history.consumed += [("delivered", each["event"]["data"]["key"]) for each in taken]
            quiet = quiet + 1 if self._drain.is_set() and not taken else 0
            if not taken:
                continue
            path = f"/api/consumers/chaos/ack?project_id={PROJECT}"
            done = self.call("POST", path, chance, {"delivery_ids": [each["delivery_id"] for each in taken]})
            with self.history.lock:
                self.history.consumed += [
                    ("settled", each["event"]["data"]["key"])
                    for each in taken
                    if each["delivery_id"] not in done["not_held"]
                ]
            self.acknowledged["settle"].append(time.monotonic())

    def _store(self, name: str, chance: random.Random) -> None:
        number = 0
        while not self._stop.is_set():
            number += 1
            key = f"{name}-{number}"
            body = {
                "agent_type": "python-specialist",
                "issue_id": "chaos",
                "project_id": PROJECT,
                "idempotency_key": key,
                "result": {"status": "success", "summary": key},
            }
            answer = self.call("POST", "/api/results", chance, body)
            with self.history.lock:
                self.history.stored[key] = answer["id"]
            self.acknowledged["result"].append(time.monotonic())
            time.sleep(0.1)

    def _collect(self) -> None:
        """Reads all results that are there."""
        chance, cursor = random.Random(0), ""
        while True:
            page = self.call("GET", f"/api/results?project_id={PROJECT}&limit=200&cursor={cursor}", chance)
            self.history.found += [(each["result"]["summary"], each["id"]) for each in page["results"]]
            cursor = page["next_cursor"]
            if not cursor:
                return


def runs_in(file: Path) -> list[Run]:
    """The processes that wrote to a file of ticking.sh."""
    found: dict[tuple[str, str], Run] = {}
    for line in file.read_text().splitlines():
        agent_id, process, at = line.split()
        run = found.setdefault((agent_id, process), Run(agent_id, process, float(at), float(at)))
        run.last = max(run.last, float(at))
    return list(found.values())


def longest_pause(times: list[float], begin: float, end: float) -> float:
    """The longest time without an acknowledgement that touches a period."""
    inside = [each for each in times if begin - 5 <= each <= end + 60]
    pauses = [after - before for before, after in pairwise(inside) if after >= begin and before <= end]
    return max(pauses, default=0.0)
