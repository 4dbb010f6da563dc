"""`cco dashboard`."""

from __future__ import annotations

import webbrowser
from urllib.parse import urlsplit

import click

from cco_sidecar.cli.connect import connected
from cco_sidecar.cli.terminal import echo
from cco_sidecar.client import Client
from cco_sidecar.core.hosts import authority, is_loopback


@click.command(name="dashboard")
@click.option("--print", "only_print", is_flag=True, help="Print the login link instead of opening a browser.")
@connected
def command(client: Client, only_print: bool) -> None:
    """Open the dashboard in a browser, signed in. The link works once, within two minutes."""
    made = client.tokens.create_login_code()
    link = f"{_address(client, made.url)}#login={made.code}"
    if only_print:
        echo(link)
    elif not webbrowser.open(link):
        echo("no browser was found; open this link in one, within two minutes:", err=True)
        echo(link)
    else:
        echo(f"opened {link.partition('#')[0]} in a browser; with --print, the link is printed instead")


def _address(client: Client, url: str) -> str:
    """Returns the URL of the dashboard as it is reached from here. ``url``: for a browser on the sidecar's machine."""
    if client.grpc_target.startswith("unix:") or is_loopback(client.address[0]):
        return url
    port = urlsplit(url).port or 80
    return f"{'https' if client.secure else 'http'}://{authority(client.address[0], port)}/"
