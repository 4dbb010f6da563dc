"""How long contexts take, beside listing and reading the same files and a bare gRPC server: `make bench-context`.

Times are of a sidecar's REST API on this machine, with git, masking and authentication. The repository has 2,000 source
files from the packages that are installed here, committed at once.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sysconfig
import tempfile
import time
from collections.abc import Callable
from concurrent import futures
from pathlib import Path

import grpc
import psutil
import requests
from tests.support.repositories import commit_all, git

from cco_sidecar.testing.process import SidecarProcess
from orchestra.v1 import context_service_pb2 as pb

_FILES, _MANY = 2_000, 50_000
_SUFFIXES = {".py", ".pyi", ".md", ".txt", ".toml", ".c", ".h", ".js", ".json"}
_MAX_FILE_BYTES = 200_000
_BUDGET = 128_000
_TASKS = (
    "Fix the retry of failed requests when the connection is closed by the server",
    "Parse quoted strings in configuration files",
    "Report the line number of syntax errors in templates",
    "Close the event loop when a worker thread is cancelled",
    "Read certificates from the environment",
)
_EDITS, _CACHED = 200, 200
_STARTS_SECONDS = 0.7
_MEGABYTE = 2**20


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--many", action="store_true", help=f"also a repository of {_MANY} files")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        _ordinary(place / "ordinary")
        _large_answers(place / "large")
        if chosen.many:
            _many(place / "many")


def _ordinary(place: Path) -> None:
    root = place / "project"
    size = _repository(root, _FILES)
    read = min(_timed(lambda: _list_and_read(root)) for _ in range(5))
    print(f"{_FILES} files, {size / 1e6:.1f} MB; listing and reading them: {read * 1000:.0f} ms")
    cold = []
    for number in range(3):
        sidecar = SidecarProcess(place / f"cold{number}", root)
        # The process that reads repositories starts with the sidecar, and is ready soon after it. When nobody waits, it
        # remembers which files hold no secret.
        time.sleep(_STARTS_SECONDS)
        cold.append(_timed(lambda sidecar=sidecar: _context(sidecar, _TASKS[0])))
        time.sleep(_STARTS_SECONDS)
        sidecar.stop()
    _show("cold first context of 128 kB", statistics.median(cold), read)
    again = []
    for number in range(3):
        sidecar = SidecarProcess(place / f"cold{number}", root)
        time.sleep(_STARTS_SECONDS)
        again.append(_timed(lambda sidecar=sidecar: _context(sidecar, _TASKS[0])))
        sidecar.stop()
    _show("the same after a restart", statistics.median(again), read)
    sidecar = SidecarProcess(place / "storage", root)
    _context(sidecar, _TASKS[0])
    seconds = [_timed(lambda task=task: _context(sidecar, task)) for task in _TASKS[1:]]
    _show("a second task", statistics.median(seconds), read)
    edited = sorted(root.rglob("*.py"))[:_EDITS]
    times = []
    for path in edited:
        path.write_text(path.read_text(errors="replace") + "\n# edited\n")
        times.append(_timed(lambda: _context(sidecar, _TASKS[0])))
    _percentiles("after one edit", times)
    _context(sidecar, _TASKS[0], 100_000)
    _percentiles("cached, 100 kB", [_timed(lambda: _context(sidecar, _TASKS[0], 100_000)) for _ in range(_CACHED)])
    sidecar.stop()


def _large_answers(place: Path) -> None:
    """A cached context of 10 MB beside a bare gRPC server that answers with the same bytes, called in turn."""
    root = place / "project"
    _repository(root, _FILES)
    sidecar = SidecarProcess(place / "storage", root)
    metadata = sidecar.operator.metadata
    options = [("grpc.max_receive_message_length", 64 * _MEGABYTE)]
    request = pb.GetContextRequest(issue_id="issue-1", agent_type="python-specialist")
    server = grpc.server(futures.ThreadPoolExecutor(4))
    with grpc.insecure_channel(sidecar.target, options=options) as channel:
        call = channel.unary_unary(
            "/orchestra.v1.ContextService/GetContext", request_serializer=pb.GetContextRequest.SerializeToString
        )
        data: bytes = call(request, metadata=metadata, timeout=120)
        handler = grpc.unary_unary_rpc_method_handler(lambda *_: data)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bare.Service", {"Get": handler}),))
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        ours, plain = [], []
        with grpc.insecure_channel(f"127.0.0.1:{port}", options=options) as other:
            bare = other.unary_unary("/bare.Service/Get")
            for _ in range(30):
                ours.append(_timed(lambda: call(request, metadata=metadata, timeout=120)))
                plain.append(_timed(lambda: bare(b"")))
    sidecar.stop()
    server.stop(None)
    mine, others = statistics.median(ours) * 1000, statistics.median(plain) * 1000
    print(
        f"cached, {len(data) / 1e6:.1f} MB over gRPC: {mine:.1f} ms; a bare server: {others:.1f} ms"
        f" ({mine / others:.1f} times)"
    )


def _many(place: Path) -> None:
    root = place / "project"
    size = _repository(root, _MANY)
    print(f"{_MANY} files, {size / 1e6:.0f} MB; listing and reading them: {_timed(lambda: _list_and_read(root)):.1f} s")
    sidecar = SidecarProcess(place / "storage", root)
    print(f"    first context: {_timed(lambda: _context(sidecar, _TASKS[0])):.1f} s")
    print(f"    a second task: {_timed(lambda: _context(sidecar, _TASKS[1])):.2f} s")
    path = min(root.rglob("*.py"))
    path.write_text("def certainly_new_name():\n    pass\n")
    started = time.perf_counter()
    seen = "certainly_new_name" in _context(sidecar, "certainly_new_name is wrong")
    print(f"    after an edit: {time.perf_counter() - started:.2f} s, {'seen' if seen else 'NOT seen'}")
    main = psutil.Process(sidecar.process.pid)
    processes = [main, *main.children(recursive=True)]
    peak = sum(_peak(each) for each in processes)
    print(f"    peak memory of the sidecar's processes: {peak / 1e6:.0f} MB")
    sidecar.stop()


def _peak(process: psutil.Process) -> int:
    status = Path(f"/proc/{process.pid}/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))


def _repository(root: Path, count: int) -> int:
    """Makes a repository with ``count`` files, and returns their size. Packages are repeated until there are enough."""
    library = Path(sysconfig.get_paths()["purelib"])
    files = [
        path
        for path in sorted(library.rglob("*"))
        if path.suffix in _SUFFIXES and path.is_file() and path.stat().st_size <= _MAX_FILE_BYTES
    ]
    size = 0
    for number in range(count):
        path = files[number * len(files) // count if count <= len(files) else number % len(files)]
        copy = "" if number < len(files) or count <= len(files) else f"copy{number // len(files)}"
        target = root / copy / path.relative_to(library)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
        size += target.stat().st_size
    (root / ".gitignore").write_text("")
    commit_all(root)
    # As after any status of a person's shell or editor, the index is newer than the files.
    time.sleep(1.1)
    git(root, "update-index", "-q", "--really-refresh")
    return size


def _list_and_read(root: Path) -> int:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, check=True).stdout
    return sum(len((root / name).read_bytes()) for name in listed.decode().split("\0")[:-1])


def _context(sidecar: SidecarProcess, task: str, max_bytes: int = _BUDGET) -> str:
    answer = _session(sidecar).get(
        f"{sidecar.url}/api/context/issue-1/python-specialist",
        params={"task": task, "max_bytes": max_bytes},
        headers=sidecar.operator.headers,
        timeout=300,
    )
    answer.raise_for_status()
    return answer.text


_SESSIONS: dict[str, requests.Session] = {}


def _session(sidecar: SidecarProcess) -> requests.Session:
    return _SESSIONS.setdefault(sidecar.url, requests.Session())


def _timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _show(what: str, seconds: float, read: float) -> None:
    print(f"{what}: {seconds * 1000:.0f} ms ({seconds / read:.1f} times)")


def _percentiles(what: str, times: list[float]) -> None:
    order = sorted(times)
    p50, p99 = order[len(order) // 2], order[int(len(order) * 0.99)]
    print(f"{what}: p50 {p50 * 1000:.1f} ms, p99 {p99 * 1000:.1f} ms")


if __name__ == "__main__":
    main()
