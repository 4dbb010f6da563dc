"""Can one client, within its limits, noticeably delay another? ``python -m bench.fairness [--only NAME]``.

Each worst case runs against its own sidecar. A probe in another process sends a health check over both transports about
every 10 ms, first while the sidecar is idle, then during the case. A bare server next to it measures what the machine
itself adds. The ratios are what count: the p99 during the case divided by the p99 over all idle periods of the run.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, NamedTuple

import orjson
import uvloop
from bench.fairness_cases import CASES, Case, Plant, small
from bench.fairness_probe import Probe, Sample
from bench.fairness_stage import Stage, Watch
from bench.run import Peer, percentile

from cco_sidecar.testing.process import SidecarProcess

_START_SECONDS = 60.0
_END_SECONDS = 30.0
# Limit for a whole case, including its preparation.
_CASE_SECONDS = 300.0
# The usual default soft limit of a shell or a service.
_OPEN_FILES = 1024
_TRANSPORTS = ("rest", "grpc")
_PROBES = (*_TRANSPORTS, "newcomer", "peer")


class Figures(NamedTuple):
    """Milliseconds of the answered calls; ``lost`` counts the unanswered ones."""

    p50: float
    p99: float
    most: float
    calls: int
    lost: int

    @classmethod
    def of(cls, samples: Sequence[Sample]) -> Figures:
        answered = [sample.ms for sample in samples if sample.ok] or [float("nan")]
        shares = percentile(answered, 0.5), percentile(answered, 0.99), max(answered)
        return cls(*shares, len(samples), sum(not sample.ok for sample in samples))


@dataclass
class Outcome:
    """The measurements of one case. Megabytes: the server's peak growth, and how much of it remained at the end."""

    name: str
    what: str
    quiet: dict[str, list[Sample]] = field(default_factory=dict)
    during: dict[str, list[Sample]] = field(default_factory=dict)
    seconds: float = 0.0
    grown_mb: float = 0.0
    left_mb: float = 0.0
    descriptors: int = 0
    answers: dict[str, int] = field(default_factory=dict)
    # What went wrong with the server or the case itself, and what the server printed.
    trouble: str = ""
    printed: str = ""


class Printed:
    """Reads a process's output pipe continuously, because a full pipe would block the process."""

    def __init__(self, pipe: IO[str]) -> None:
        self._lines: list[str] = []
        self._thread = threading.Thread(target=self._read, args=(pipe,), daemon=True)
        self._thread.start()

    def _read(self, pipe: IO[str]) -> None:
        for line in pipe:
            if len(self._lines) < 1000:
                self._lines.append(line)

    def text(self) -> str:
        self._thread.join(_END_SECONDS)
        return "".join(self._lines)


@contextmanager
def open_files(most: int) -> Iterator[None]:
    """The open file limit that child processes inherit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most if hard < 0 else min(most, hard), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def start(storage: Path, root: Path) -> SidecarProcess:
    with open_files(_OPEN_FILES):
        return await asyncio.wait_for(asyncio.to_thread(SidecarProcess, storage, root), _START_SECONDS)


async def outcome_of(case: Case, base: Path, root: Path, peer: Peer, seconds: float) -> Outcome:
    outcome = Outcome(case.name, case.what)
    storage = base / f"storage-{case.name}"
    sidecar = await start(storage, root)
    assert sidecar.process.stderr is not None
    printed = Printed(sidecar.process.stderr)
    watch = Watch(sidecar.process.pid)
    stage = Stage(sidecar, watch, seconds)
    try:
        probe = Probe(sidecar.port, sidecar.grpc_port, peer.port)
        try:
            outcome.trouble = await _play(case, stage)
            samples = await asyncio.to_thread(probe.stop)
        finally:
            probe.kill()
        if sidecar.process.poll() is not None:
            outcome.trouble = "too much memory" if watch.killed else "the server died"
    finally:
        watch.end()
        sidecar.process.kill()
        sidecar.process.wait(_END_SECONDS)
        shutil.rmtree(storage, ignore_errors=True)
    outcome.printed = printed.text()
    outcome.quiet = _between(samples, stage.quiet_from, stage.began)
    outcome.during = _between(samples, stage.began, stage.ended)
    outcome.seconds = stage.ended - stage.began
    outcome.grown_mb, outcome.left_mb, outcome.descriptors = watch.growth, watch.left, watch.descriptors
    outcome.answers = dict(sorted(stage.answers.items()))
    return outcome


async def _play(case: Case, stage: Stage) -> str:
    """Runs the case; returns what went wrong."""
    try:
        await asyncio.wait_for(case.play(stage), _CASE_SECONDS)
    except TimeoutError:
        return f"not done in {_CASE_SECONDS:.0f} s"
    except Exception as problem:
        return f"{type(problem).__name__}: {problem}"[:200]
    return ""


def _between(samples: dict[str, list[Sample]], begin: float, end: float) -> dict[str, list[Sample]]:
    return {name: [each for each in of if begin <= each.at < end] for name, of in samples.items()}


async def quiet_of(stage: Stage) -> None:
    async with stage.attack():
        await stage.until_over()


QUIET = Case("quiet", "nothing happens", quiet_of, small)


# -- the table ------------------------------------------------------------------------------------------

_HEADER = (
    f"{'case':<23}{'REST p50':>9}{'p99':>8}{'max':>8}{'gRPC p50':>10}{'p99':>8}{'max':>8}{'ratio':>8}"
    f"{'new p99':>9}{'lost':>11}{'peer p99':>10}{'RSS +MB':>9}{'left':>7}{'files':>7}  answers"
)

_LEGEND = """\
ratio: p99 to quiet, at the transport that suffers more. new: a client that connects anew. lost: calls without a healthy
answer (REST/gRPC/new). peer: a bare server at the same time, the machine's own share. left: of the growth, a second
after the case. files: open descriptors at most. answers: what the attacking client was told."""


def quiet_figures(outcomes: Sequence[Outcome]) -> dict[str, Figures]:
    """Over all idle periods of the run."""
    return {name: Figures.of([s for each in outcomes for s in each.quiet.get(name, ())]) for name in _PROBES}


def ratio(during: dict[str, Figures], quiet: dict[str, Figures]) -> float:
    """The ratio of the p99s, at the transport that suffers more."""
    return max(during[transport].p99 / quiet[transport].p99 for transport in _TRANSPORTS)


def row(name: str, figures: dict[str, Figures], times: float, rest: str) -> str:
    transports = "".join(
        f"{figures[transport].p50:>{width}.1f}{figures[transport].p99:>8.1f}{figures[transport].most:>8.0f}"
        for transport, width in zip(_TRANSPORTS, (9, 10), strict=True)
    )
    lost = "/".join(str(figures[each].lost) for each in (*_TRANSPORTS, "newcomer"))
    newcomer, peer = figures["newcomer"].p99, figures["peer"].p99
    return f"{name:<23}{transports}{times:>8.1f}{newcomer:>9.1f}{lost:>11}{peer:>10.1f}{rest}"


def row_of(outcome: Outcome, quiet: dict[str, Figures]) -> str:
    figures = {name: Figures.of(outcome.during.get(name, ())) for name in _PROBES}
    said = ", ".join(f"{count} x {answer}" for answer, count in outcome.answers.items())
    notes = "; ".join(filter(None, (said, outcome.trouble)))
    rest = f"{outcome.grown_mb:>9.0f}{outcome.left_mb:>7.0f}{outcome.descriptors:>7}  {notes}"
    return row(outcome.name, figures, ratio(figures, quiet), rest)


def report(outcomes: Sequence[Outcome]) -> None:
    quiet = quiet_figures(outcomes)
    print(f"\nHealth checks of another client, milliseconds; {os.cpu_count()} cores, Python {sys.version.split()[0]}")
    print(_HEADER)
    print(row(QUIET.name, quiet, 1.0, ""))
    for outcome in outcomes:
        if outcome.name != QUIET.name:
            print(row_of(outcome, quiet))
    print(f"\n{_LEGEND}")


def as_json(outcomes: Sequence[Outcome]) -> bytes:
    """Figures are null where no call was answered."""
    quiet = quiet_figures(outcomes)
    cases = []
    for outcome in outcomes:
        during = {name: Figures.of(outcome.during.get(name, ())) for name in _PROBES}
        seen = {key: value for key, value in vars(outcome).items() if key not in ("quiet", "during")}
        cases.append({**seen, "ratio": ratio(during, quiet), **{n: f._asdict() for n, f in during.items()}})
    machine = {"cores": os.cpu_count(), "python": sys.version.split()[0]}
    value = {**machine, "quiet": {name: figures._asdict() for name, figures in quiet.items()}, "cases": cases}
    return orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


# -- the command ----------------------------------------------------------------------------------------


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.fairness", description=__doc__)
    parser.add_argument("--only", action="append", metavar="NAME", choices=CASES, help="this case; may be repeated")
    parser.add_argument("--seconds", type=float, default=5.0, metavar="N", help="for how long a case begins new calls")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument("--list", action="store_true", help="say what each case does, and end")
    return parser.parse_args()


async def measure(names: Sequence[str], seconds: float) -> list[Outcome]:
    outcomes: list[Outcome] = []
    planted: dict[Plant, Path] = {}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as directory, open_files(2**20):
        base = Path(directory)
        peer = Peer("asgi")
        try:
            for case in (QUIET, *(CASES[name] for name in names)):
                if case.plant not in planted:
                    root = planted[case.plant] = base / f"repository-{len(planted)}"
                    root.mkdir()
                    case.plant(root)
                outcome = await outcome_of(case, base, planted[case.plant], peer, seconds)
                outcomes.append(outcome)
                note = outcome.trouble or "done"
                print(f"{case.name}: {note}, {outcome.seconds:.1f} s", file=sys.stderr, flush=True)
        finally:
            with suppress(OSError):
                peer.stop()
    return outcomes


def main() -> None:
    asked = arguments()
    if asked.list:
        for case in CASES.values():
            print(f"{case.name:<23}{case.what}")
        return
    outcomes = uvloop.run(measure(asked.only or list(CASES), asked.seconds))
    report(outcomes)
    if asked.json:
        asked.json.write_bytes(as_json(outcomes))
    if failed := [outcome.name for outcome in outcomes if outcome.trouble]:
        raise SystemExit(f"these cases could not be measured: {', '.join(failed)}")


if __name__ == "__main__":
    main()
