"""`cco context explain|lint`: why a context holds what it holds, and the rules that change it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import click
import orjson

from cco_sidecar.cli import output as out
from cco_sidecar.cli.connect import agent_types, connected, project_option
from cco_sidecar.cli.numbers import Size
from cco_sidecar.cli.terminal import echo
from cco_sidecar.client import Client
from cco_sidecar.core import codec
from cco_sidecar.core.errors import SidecarError
from cco_sidecar.core.reasons import Reason
from cco_sidecar.repository.layout import GitFailed
from cco_sidecar.repository.patterns import Patterns
from cco_sidecar.repository.rules import RULES_FILE, RulesInvalid, read_rules
from cco_sidecar.repository.snapshot import Scanner, Snapshot
from orchestra.v1.context_service_pb2 import (
    DISPOSITION_CUT,
    DISPOSITION_INCLUDED,
    Candidate,
    ExplainContextResponse,
)

_DISPOSITIONS = {DISPOSITION_INCLUDED: "whole", DISPOSITION_CUT: "parts"}
_SHOWN_RANGES = 4
_MOST = 10_000


def budgets(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds ``--max-bytes`` and ``--max-tokens``."""
    command = click.option(
        "--max-tokens", type=Size(4096, 4 * 2**20), metavar="TOKENS", help="Budget in tokens, such as 32k."
    )(command)
    return click.option(
        "--max-bytes",
        type=Size(4096, 10 * 2**20),
        metavar="BYTES",
        help="Budget, such as 128k (k is 1,000): excerpts of what matters most for the task.  [default: that of the "
        "type; explain: else that of a spawned agent]",
    )(command)


@click.command()
@click.argument("issue")
@click.argument("agent_type", metavar="TYPE", shell_complete=agent_types)
@project_option
@click.option("--task", default="", help="What the agent is about to do.")
@budgets
@click.option("--limit", type=click.IntRange(1, _MOST), help="Candidates to show, the best first.  [default: 200]")
@click.option(
    "--diff",
    "before",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Show only what differs from an earlier explanation, saved with --format json --output FILE.",
)
@out.formatted
@connected
def explain(
    client: Client,
    issue: str,
    agent_type: str,
    project_id: str,
    task: str,
    max_bytes: int | None,
    max_tokens: int | None,
    limit: int | None,
    before: Path | None,
    form: str | None,
    output: Path | None,
) -> None:
    """Show why the context of ISSUE for agents of TYPE holds what it holds."""
    earlier = _saved(before) if before else None
    with out.waiting("gathering context ..."):
        answer = client.context.explain(
            issue,
            agent_type,
            project_id=project_id,
            task=task,
            max_bytes=max_bytes,
            max_tokens=max_tokens,
            limit=_MOST if earlier else limit,
        )
    if earlier is not None:
        changed = _changed(earlier, answer)
        del answer.candidates[:]
        answer.candidates.extend(changed[: limit or _MOST])
        by_path = {each.path: each for each in earlier.candidates}
        columns = {"before": lambda each: _state(by_path.get(each.path)), **_COLUMNS}
    else:
        columns = _COLUMNS
    if form in (None, "text", "table") and not (output and form is None):
        out.rows(answer.candidates, columns, "table", output, str)
        echo(_totals(answer), err=True)
    else:
        out.message(answer, form, output, str)


def _saved(path: Path) -> ExplainContextResponse:
    try:
        value = orjson.loads(path.read_bytes())
        return cast(ExplainContextResponse, codec.from_dict(ExplainContextResponse, value))
    except OSError as problem:
        raise click.ClickException(f"cannot read {path}: {problem.strerror}") from problem
    except (ValueError, SidecarError) as problem:
        raise click.ClickException(f"{path} is not an explanation saved with --format json: {problem}") from problem


def _changed(before: ExplainContextResponse, after: ExplainContextResponse) -> list[Candidate]:
    """Returns the candidates that came into the context, left it, or have other lines in it."""
    earlier = {each.path: each for each in before.candidates}
    later = {each.path: each for each in after.candidates}
    changed = [each for each in after.candidates if _key(each) != _key(earlier.get(each.path))]
    gone = [
        Candidate(path=path, reason="not a candidate any more")
        for path, each in earlier.items()
        if path not in later and each.lines
    ]
    return changed + gone


def _key(candidate: Candidate | None) -> tuple[tuple[int, int], ...]:
    return tuple((each.first, each.last) for each in candidate.lines) if candidate else ()


def _state(candidate: Candidate | None) -> str:
    return _lines(candidate) if candidate else ""


def _lines(candidate: Candidate) -> str:
    ranges = [f"{each.first}-{each.last}" for each in candidate.lines]
    more = f" +{len(ranges) - _SHOWN_RANGES}" if len(ranges) > _SHOWN_RANGES else ""
    return ",".join(ranges[:_SHOWN_RANGES]) + more


def _signals(candidate: Candidate) -> str:
    best = sorted(candidate.signals.items(), key=lambda item: (-item[1], item[0]))
    text = " ".join(f"{name}={points:.2f}" for name, points in best)
    return text + (f" x{candidate.factor:g}" if text and candidate.factor != 1 else "")


_COLUMNS: out.Columns = {
    "score": lambda each: f"{each.score:.3f}" if each.HasField("score") else "",
    "context": lambda each: _DISPOSITIONS.get(each.disposition, ""),
    "path": lambda each: each.path,
    "lines": _lines,
    "of": lambda each: str(each.line_count or ""),
    "why": lambda each: each.reason,
    "signals": _signals,
}


def _totals(answer: ExplainContextResponse) -> str:
    return (
        f"{answer.used_bytes} of {answer.max_bytes} bytes used; {len(answer.candidates)} of "
        f"{answer.total_candidates} candidates shown"
    )


@click.command()
@click.option(
    "--root",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=Path(),
    help="Project directory.  [default: the current one]",
)
def lint(root: Path) -> None:
    """Check the rules for contexts in .cco/context.toml."""
    root = _project_of(root.resolve())
    try:
        rules = read_rules(root)
        if not (root / RULES_FILE).exists():
            echo(f"no {RULES_FILE}; every file is a candidate")
            return
        with tempfile.TemporaryDirectory() as scratch:
            snapshot, _ = Scanner(root, Path(scratch)).scan(afresh=False)
    except RulesInvalid as problem:
        raise click.ClickException(f"{RULES_FILE}: {problem}") from problem
    except (GitFailed, OSError) as problem:
        raise click.ClickException(f"the project cannot be read: {problem}") from problem
    warnings = list(_warnings(snapshot))
    for warning in warnings:
        echo(f"warning: {warning}", err=True)
    excluded = sum(map(rules.is_excluded, snapshot.files))
    if snapshot.files and excluded == len(snapshot.files):
        raise click.ClickException(f"{RULES_FILE}: no file is a candidate, so contexts would hold none")
    first = sum(map(rules.is_first, snapshot.files))
    never = sum(each.reason == Reason.NEVER for each in snapshot.barred)
    echo(
        f"{RULES_FILE}: {len(snapshot.files) - excluded} candidates, {first} always, {excluded} excluded, {never} never"
    )


def _project_of(directory: Path) -> Path:
    """Returns the directory that has the rules, or the top of the working tree: the given one or one above it."""
    return next(
        (each for each in (directory, *directory.parents) if (each / RULES_FILE).exists() or (each / ".git").exists()),
        directory,
    )


def _warnings(snapshot: Snapshot) -> Sequence[str]:
    """Returns what is valid and has no effect."""
    rules = snapshot.rules
    files = list(snapshot.files)
    barred = [each.path for each in snapshot.barred]
    never = [each.path for each in snapshot.barred if each.reason == Reason.NEVER]
    found = []
    for name in ("include", "exclude", "always", "never"):
        found += [
            f"{name}: {pattern!r} matches no file"
            for pattern in getattr(rules, name)
            if not any(map(Patterns((pattern,)).match, (*files, *barred)))
        ]
    found += [
        f"weights: {pattern!r} matches no file"
        for pattern in rules.weights or {}
        if not any(map(Patterns((pattern,)).match, files))
    ]
    always = Patterns(rules.always)
    found += [f"always: {path} is in 'never', which wins" for path in never if rules.always and always.match(path)]
    found += [
        f"always: {each.path} cannot be in a context: {each.reason}"
        for each in snapshot.barred
        if each.reason != Reason.NEVER and rules.always and always.match(each.path)
    ]
    return found
