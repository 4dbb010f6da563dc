"""Runs the commands of `cco consumers work` and `cco patterns`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

import click

from cco_sidecar.cli.terminal import echo, one_line
from cco_sidecar.client import Delivery
from cco_sidecar.core import codec
from cco_sidecar.core.errors import SidecarError

# What the delivery says of a command that failed.
_REASON_CHARACTERS = 500


def handle(delivery: Delivery, program: Sequence[str]) -> None:
    """Runs a command with the event as JSON on its stdin, and settles the delivery by its exit status. Raises
    ClickException if the command cannot be run."""
    environment = os.environ | {
        "CCO_EVENT_ID": delivery.event.event_id,
        "CCO_EVENT_TYPE": delivery.event.event_type,
        "CCO_DELIVERY_ATTEMPT": str(delivery.attempt),
    }
    try:
        with _kept(delivery):
            ended = run(program, codec.to_json(delivery.event.message), env=environment, stderr=subprocess.PIPE)
    except click.ClickException as problem:
        delivery.nack(problem.message)
        raise
    sys.stderr.buffer.write(ended.stderr)
    if ended.returncode == 0:
        delivery.ack()
        return
    said = ended.stderr.decode(errors="replace").strip().rpartition("\n")[2]
    reason = f"exit status {ended.returncode}{': ' if said else ''}{said}"
    delivery.nack(reason.replace("\0", "")[:_REASON_CHARACTERS])
    echo(f"{delivery.event.event_id}: {one_line(reason)}", err=True)


def require_program(program: str) -> None:
    """Raises ClickException if a command is not found, before anything counts as its failure."""
    if shutil.which(program) is None:
        raise click.ClickException(f"cannot run {program}: command not found")


def run(program: Sequence[str], stdin: bytes | None = None, **options: Any) -> subprocess.CompletedProcess[bytes]:
    """Runs a command to its end, with the ``options`` of subprocess.run. Raises ClickException if it cannot be run."""
    try:
        return subprocess.run(program, input=stdin, check=False, **options)
    except OSError as problem:
        raise click.ClickException(f"cannot run {program[0]}: {problem.strerror}") from None


@contextmanager
def _kept(delivery: Delivery) -> Iterator[None]:
    """Extends a delivery while the block runs."""
    seconds = max(0.3, (delivery.deadline - datetime.now(UTC)).total_seconds() / 3)
    done = threading.Event()

    def extend() -> None:
        while not done.wait(seconds):
            with suppress(SidecarError):
                delivery.extend()

    thread = threading.Thread(target=extend, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
