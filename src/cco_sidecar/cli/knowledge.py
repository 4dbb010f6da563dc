"""`cco knowledge search|list|show|add|approve|forget|export`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click

from cco_sidecar.cli import output as out
from cco_sidecar.cli.connect import connected, project_option
from cco_sidecar.cli.groups import Group
from cco_sidecar.cli.numbers import Integer
from cco_sidecar.cli.terminal import echo, one_line, visible
from cco_sidecar.client import Client
from cco_sidecar.core import codec
from orchestra.v1.knowledge_service_pb2 import KnowledgeEntry, KnowledgeKind, KnowledgeStatus

_KINDS = ("decision", "finding", "lesson")
_STATUSES = ("pending", "approved")
_MARKDOWN = "markdown"


def _kind(entry: KnowledgeEntry) -> str:
    return codec.enum_name(KnowledgeKind.DESCRIPTOR, entry.kind) or ""


def _status(entry: KnowledgeEntry) -> str:
    return codec.enum_name(KnowledgeStatus.DESCRIPTOR, entry.status) or ""


def _author(entry: KnowledgeEntry) -> str:
    return entry.agent_type or entry.created_by


_COLUMNS: out.Columns = {
    "entry_id": lambda e: e.entry_id,
    "kind": _kind,
    "status": _status,
    "issue_id": lambda e: e.issue_id,
    "agent_type": lambda e: e.agent_type,
    "created_by": lambda e: e.created_by,
    "text": lambda e: e.text,
}


@click.group(name="knowledge", cls=Group)
def command() -> None:
    """What agents learned: search it, approve it for other issues, or forget it."""


def _chosen(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options that select entries."""
    for option in (
        project_option,
        click.option("--issue", "issue_id", default="", help="Only entries of this issue."),
        click.option("--status", type=click.Choice(_STATUSES), default=None, help="Only this status."),
        click.option("--kind", type=click.Choice(_KINDS), default=None, help="Only this kind."),
    ):
        command = option(command)
    return command


@command.command()
@click.argument("query")
@_chosen
@click.option("--limit", type=Integer(1, 100), help="Maximum number of entries.  [default: 20]")
@partial(out.formatted, lists=True)
@connected
def search(client: Client, query: str, form: str | None, output: Path | None, **wanted: Any) -> None:
    """Find entries with all words of QUERY, the best first. Put a phrase in quotation marks; end a beginning with *."""
    found = client.knowledge.search(query, **_given(wanted))
    if form in ("json", "yaml") or (form is None and output is not None):
        out.rows(found, {}, form, output, str)
    else:
        _rows([each.entry for each in found], form, output, "nothing found; a word that ends with * finds longer ones")


@command.command(name="list")
@_chosen
@click.option("--limit", type=Integer(1, 1000), help="Maximum number of entries.  [default: 100]")
@click.option("--cursor", default="", help="Cursor printed by the previous page.")
@partial(out.formatted, lists=True)
@connected
def list_(client: Client, form: str | None, output: Path | None, **wanted: Any) -> None:
    """List entries, the newest first."""
    page = client.knowledge.list(**_given(wanted))
    _rows(page.entries, form, output, "no entries")
    out.more(page.next_cursor)


@command.command()
@click.argument("entry_id")
@project_option
@out.formatted
@connected
def show(client: Client, entry_id: str, form: str | None, output: Path | None, project_id: str) -> None:
    """Show an entry with its author and source."""
    entry = client.knowledge.get(entry_id, project_id=project_id)
    out.message(entry, form, output, lambda: "\n".join(_shown(entry)))


@command.command()
@click.argument("text", metavar="TEXT|-")
@click.option("--kind", type=click.Choice(_KINDS), default="lesson", show_default=True, help="What it is.")
@click.option("--issue", "issue_id", default="", help="Issue on which it was learned.")
@project_option
@out.formatted
@connected
def add(client: Client, text: str, form: str | None, output: Path | None, **given: Any) -> None:
    """Add an entry; - reads it from stdin. The operator's is approved; an agent's waits for approval."""
    if text == "-":
        text = sys.stdin.read()
    entry = client.knowledge.add(text, **given)
    out.message(entry, form, output, lambda: f"{entry.entry_id} ({_status(entry)})")


@command.command()
@click.argument("entry_ids", metavar="ENTRY_ID...", nargs=-1, required=True)
@project_option
@connected
def approve(client: Client, entry_ids: Sequence[str], project_id: str) -> None:
    """Offer entries to all issues of the project."""
    for entry_id in dict.fromkeys(entry_ids):
        entry = client.knowledge.approve(entry_id, project_id=project_id)
        echo(f"approved {entry.entry_id}: {one_line(entry.text)}")


@command.command()
@click.argument("entry_ids", metavar="ENTRY_ID...", nargs=-1, required=True)
@project_option
@connected
def forget(client: Client, entry_ids: Sequence[str], project_id: str) -> None:
    """Delete entries."""
    for entry_id in dict.fromkeys(entry_ids):
        client.knowledge.forget(entry_id, project_id=project_id)
        echo(f"forgot {entry_id}")


def _exported(command: Callable[..., Any]) -> Callable[..., Any]:
    return out.formatted(command, lists=True, more=(_MARKDOWN,), default="json")


@command.command()
@_chosen
@_exported
@connected
def export(client: Client, form: str | None, output: Path | None, **wanted: Any) -> None:
    """Print all entries, the newest first."""
    entries = list(client.knowledge.iterate(**_given(wanted)))
    if form == _MARKDOWN:
        out.write("\n".join(_document(entries)), output)
    else:
        _rows(entries, form or "json", output, "no entries")


def _given(wanted: dict[str, Any]) -> dict[str, Any]:
    """Returns the options that were given."""
    return {name: value for name, value in wanted.items() if value is not None}


def _rows(entries: Iterable[KnowledgeEntry], form: str | None, output: Path | None, none: str) -> None:
    found = list(entries)
    out.rows(found, _COLUMNS, form, output, lambda: "\n".join(map(_line, found)) or none)


def _line(entry: KnowledgeEntry) -> str:
    head = f"{entry.entry_id}  {_kind(entry)}  {_status(entry)}  {entry.issue_id or '-'}"
    return f"{head}  {_author(entry)}: {one_line(entry.text)}"


def _shown(entry: KnowledgeEntry) -> Iterator[str]:
    yield visible(entry.text)
    yield ""
    yield f"{_kind(entry)} of {_author(entry)} ({entry.created_by}), {codec.rfc3339(entry.created_at)}"
    if entry.issue_id:
        yield f"issue: {entry.issue_id}"
    if entry.result_id:
        yield f"result: {entry.result_id}"
    if entry.HasField("approved_at"):
        yield f"approved by {entry.approved_by}, {codec.rfc3339(entry.approved_at)}"
    else:
        yield f"pending: approve it with 'cco knowledge approve {entry.entry_id}'"


def _document(entries: Sequence[KnowledgeEntry]) -> Iterator[str]:
    """Yields the lines of the entries as Markdown; their texts are quoted."""
    yield "# Knowledge"
    for kind in _KINDS:
        chosen = [entry for entry in entries if _kind(entry) == kind]
        if chosen:
            yield from ("", f"## {kind.capitalize()}s")
        for entry in chosen:
            yield ""
            yield from (f"> {line}".rstrip() for line in entry.text.splitlines())
            yield ""
            issue = f", issue {entry.issue_id}" if entry.issue_id else ""
            yield f"{_author(entry)}{issue}, {entry.created_at.ToJsonString()[:10]}, {_status(entry)}"
