"""`cco mcp`."""

from __future__ import annotations

import asyncio
from typing import Any

import click

from cco_sidecar.cli.connect import connected
from cco_sidecar.client import AsyncClient, Client
from cco_sidecar.core.calls import Calls
from cco_sidecar.core.errors import SettingsError


@click.command(name="mcp")
@connected
def command(client: Client) -> None:
    """Serve the tools of the Model Context Protocol on standard input and output. Needs the extra mcp."""
    try:
        import mcp  # noqa: F401
    except ImportError as problem:
        raise SettingsError("this needs the extra 'mcp'; fix: pip install 'cco-sidecar[mcp]'") from problem
    # Opened now, so that a program without a sidecar says so at once.
    client.connect()
    asyncio.run(_serve(client))


async def _serve(client: Client) -> None:
    from cco_sidecar.mcp import remote, server

    scheme = "https" if client.secure else "http"
    host, port = (None, None) if client.grpc_target.startswith("unix:") else client.address
    url = f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}" if host is not None else None
    # The token was meant for this server, as the command was started.
    async with AsyncClient(url, token=client.token, grpc_target=client.grpc_target, insecure=True) as opened:
        calls = remote.RemoteCalls(opened)

        def calls_of(_: Any) -> Calls:
            return calls

        await server.make(calls_of, files=True).run_stdio_async()
