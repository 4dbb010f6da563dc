"""`cco mcp`."""

from __future__ import annotations

import asyncio
from typing import Any

import click

from cco_sidecar.cli.connect import connected
from cco_sidecar.client import Client
from cco_sidecar.core.calls import Calls
from cco_sidecar.core.errors import SettingsError


@click.command(name="mcp")
@connected
def command(client: Client) -> None:
    """Serve the tools of the Model Context Protocol on standard input and output. Needs the extra mcp."""
    try:
        from cco_sidecar.mcp import remote, server
    except ImportError as problem:
        raise SettingsError("this needs the extra 'mcp'; fix: pip install 'cco-sidecar[mcp]'") from problem
    calls = remote.RemoteCalls(client)

    def calls_of(_: Any) -> Calls:
        return calls

    asyncio.run(server.make(calls_of, files=True).run_stdio_async())
