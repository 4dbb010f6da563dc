"""`cco context eval`: how well contexts find what the commits of a repository changed."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from cco_sidecar.cli import output as out
from cco_sidecar.cli.connect import agent_types
from cco_sidecar.cli.numbers import Size
from cco_sidecar.cli.terminal import counted, echo, one_line
from cco_sidecar.core.errors import SidecarError
from cco_sidecar.repository.layout import GitFailed
from cco_sidecar.repository.rules import RULES_FILE, RulesInvalid
from cco_sidecar.services.context.evaluation.evaluate import ANY_TYPE, Evaluation, evaluate
from cco_sidecar.services.context.evaluation.plot import svg
from cco_sidecar.storage.trust import load_agent_types

_BUDGETS = (32_000, 128_000, 512_000)
_SHOWN_MISSES = 20


@click.command(name="eval")
@click.option(
    "--repo",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=Path(),
    help="Repository.  [default: the current directory]",
)
@click.option("--commits", type=click.IntRange(1, 5000), default=100, show_default=True, help="How many to try.")
@click.option(
    "--budget",
    "budgets",
    type=Size(4096, 10 * 2**20),
    multiple=True,
    metavar="BYTES",
    help="Budget, such as 128k; can be repeated.  [default: 32000, 128000, 512000]",
)
@click.option("--agent-type", default="", shell_complete=agent_types, help="For this type.  [default: all files count]")
@click.option("--baselines/--no-baselines", default=True, help="Compare with whole files by BM25 and by name.")
@click.option(
    "--plot", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write a plot as SVG to FILE."
)
@out.report_format
def evaluate_command(
    repo: Path,
    commits: int,
    budgets: tuple[int, ...],
    agent_type: str,
    baselines: bool,
    plot: Path | None,
    form: str,
) -> None:
    """Measure contexts on the history of a repository.

    For each of the newest commits, builds the context for its message, without the names of files, as of the commit
    before it, and counts how much of what the commit changed is in it. Nothing is checked out, and no sidecar is
    needed.
    """
    root = repo.resolve()
    try:
        types = load_agent_types(root)
        agent = types.require(agent_type) if agent_type else ANY_TYPE
        with tempfile.TemporaryDirectory() as scratch, out.waiting("building contexts ..."):
            found = evaluate(
                root,
                Path(scratch),
                commits=commits,
                budgets=sorted(set(budgets or _BUDGETS)),
                baselines=baselines,
                agent=agent,
                file_sets=types.file_sets,
            )
    except SidecarError as problem:
        raise click.ClickException(problem.message) from problem
    except RulesInvalid as problem:
        raise click.ClickException(f"{RULES_FILE}: {problem}") from problem
    except GitFailed as problem:
        raise click.ClickException(str(problem)) from problem
    if not found.commits:
        raise click.ClickException(f"{root} has no commits that can be measured{_skipped(found)}")
    if plot is not None:
        out.write(svg(found, f"{root.name}, {found.commits} commits").rstrip("\n"), plot)
    if form == "text":
        echo(_text(found))
    else:
        echo(out.encoded(_plain(found), form))


def _skipped(found: Evaluation) -> str:
    reasons = [f"{count} with {reason}" for reason, count in sorted(found.skipped.items(), key=lambda item: -item[1])]
    return f"; not counted: {', '.join(reasons)}" if reasons else ""


def _text(found: Evaluation) -> str:
    width = max(len(row.method) for row in found.rows)
    lines = [
        f"{counted(found.commits, 'commit')}{_skipped(found)}",
        "",
        f"{'':{width}}  {'budget':>10}  recall  precision of lines",
    ]
    lines += [
        f"{row.method:{width}}  {row.max_bytes:>10}  {row.recall:6.3f}  {row.precision:.4f}" for row in found.rows
    ]
    if found.misses:
        largest = max(row.max_bytes for row in found.rows)
        lines += ["", f"not found within {largest} bytes: {len(found.misses)} files"]
        for miss in found.misses[:_SHOWN_MISSES]:
            ranges = ",".join(f"{first}-{last}" for first, last in miss.lines[:4])
            lines.append(f"  {miss.sha[:10]} {one_line(miss.path)}:{ranges}  {one_line(miss.subject)[:80]}")
        if len(found.misses) > _SHOWN_MISSES:
            lines.append(f"  and {len(found.misses) - _SHOWN_MISSES} more; --format json names all")
    return "\n".join(lines)


def _plain(found: Evaluation) -> dict[str, object]:
    return {
        "commits": found.commits,
        "skipped": dict(found.skipped),
        "rows": [row._asdict() for row in found.rows],
        "misses": [miss._asdict() for miss in found.misses],
    }
