"""`cco approvals list|approve|deny`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import click

from cco_sidecar.cli import output as out
from cco_sidecar.cli.connect import connected, project_option
from cco_sidecar.cli.groups import Group
from cco_sidecar.cli.numbers import Integer
from cco_sidecar.cli.terminal import echo, one_line
from cco_sidecar.client import Client
from cco_sidecar.core import codec
from orchestra.v1.approval_service_pb2 import Approval, ApprovalStatus


def _status(approval: Approval) -> str:
    return codec.enum_name(ApprovalStatus.DESCRIPTOR, approval.status) or ""


_COLUMNS: out.Columns = {
    "approval_id": lambda a: a.approval_id,
    "status": _status,
    "issue_id": lambda a: a.issue_id,
    "requested_by": lambda a: a.requested_by,
    "question": lambda a: a.question,
    "comment": lambda a: a.comment,
}


@click.group(name="approvals", cls=Group)
def command() -> None:
    """List and answer approval requests of agents and hand-over rules."""


@command.command(name="list")
@click.option(
    "--status",
    type=click.Choice(["pending", "approved", "denied", "all"]),
    default="pending",
    show_default=True,
    help="Filter by status.",
)
@click.option("--issue", "issue_id", default="", help="Filter by issue.")
@project_option
@click.option("--limit", type=Integer(1, 1000), help="Maximum number to list.  [default: 100]")
@click.option("--cursor", default="", help="Cursor printed by the previous page.")
@partial(out.formatted, lists=True)
@connected
def list_(client: Client, status: str, form: str | None, output: Path | None, **wanted: Any) -> None:
    """List approval requests, newest first."""
    page = client.approvals.list(status="" if status == "all" else status, **wanted)
    found = list(page.approvals)
    out.rows(found, _COLUMNS, form, output, lambda: "\n".join(map(_line, found)) or "no approvals")
    out.more(page.next_cursor)


def _line(approval: Approval) -> str:
    head = f"{approval.approval_id}  {_status(approval)}  {approval.issue_id}"
    return f"{head}  {approval.requested_by}: {one_line(approval.question)}"


@command.command()
@click.argument("approval_id")
@click.option("--comment", default="", help="Comment for the requester.")
@connected
def approve(client: Client, approval_id: str, comment: str) -> None:
    """Approve a request. The decision is final."""
    _answer(client, approval_id, comment, approved=True)


@command.command()
@click.argument("approval_id")
@click.option("--comment", default="", help="Reason, for the requester.")
@connected
def deny(client: Client, approval_id: str, comment: str) -> None:
    """Deny a request. The decision is final."""
    _answer(client, approval_id, comment, approved=False)


def _answer(client: Client, approval_id: str, comment: str, *, approved: bool) -> None:
    approval = client.approvals.answer(approval_id, approved=approved, comment=comment)
    echo(f"{_status(approval)}: {one_line(approval.question)}")
