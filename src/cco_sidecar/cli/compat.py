"""`cco compat env|revoke`: addresses for clients of the Agent Orchestrator Framework."""

from __future__ import annotations

import click

from cco_sidecar.cli.connect import find, settings_of
from cco_sidecar.cli.groups import Group
from cco_sidecar.cli.terminal import echo
from cco_sidecar.core.errors import SettingsError
from cco_sidecar.storage.capabilities import Capabilities, Ports

_project = click.option("--project", default="", help="Project.  [default: the default project]")


@click.group(name="compat", cls=Group)
def command() -> None:
    """Addresses for clients of the Agent Orchestrator Framework."""


@command.command()
@_project
@click.pass_context
def env(ctx: click.Context, project: str) -> None:
    """Print the environment variables for its commands, to be read with eval.

    The addresses have a secret: whoever has them may start agents in the project.
    """
    storage = find(settings_of(ctx), None).storage
    ports = Ports.of(storage)
    if ports is None:
        raise SettingsError(
            f"no sidecar on {storage} serves these ports; fix: start it with --compat-ports, or set compat.ports"
        )
    try:
        secret = Capabilities(storage).of(project)
    except OSError as problem:
        raise SettingsError(f"cannot write {storage}: {problem.strerror or problem}") from problem
    runtime, registry = (f"http://127.0.0.1:{port}/k/{secret}" for port in (ports.runtime, ports.registry))
    for name, value in (
        ("AGENT_ORCHESTRATOR_SESSION_MANAGER_URL", runtime),
        ("AGENT_ORCHESTRATOR_SESSION_API_URL", runtime),
        ("AGENT_ORCHESTRATOR_AGENT_API_URL", registry),
        # These clients take no path.
        ("DOC_SYNC_SCHEME", "http"),
        ("DOC_SYNC_HOST", f"k:{secret}@127.0.0.1"),
        ("DOC_SYNC_PORT", str(ports.store)),
    ):
        echo(f"export {name}={value}")


@command.command()
@_project
@click.pass_context
def revoke(ctx: click.Context, project: str) -> None:
    """Make the addresses of a project invalid."""
    storage = find(settings_of(ctx), None).storage
    try:
        revoked = Capabilities(storage).revoke(project)
    except OSError as problem:
        raise SettingsError(f"cannot write {storage}: {problem.strerror or problem}") from problem
    echo("the addresses are invalid now" if revoked else "there are no addresses for this project")
