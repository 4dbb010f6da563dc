"""`cco runner`."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cco_sidecar.cli import output as out
from cco_sidecar.cli.connect import connected, settings_of
from cco_sidecar.cli.groups import Group
from cco_sidecar.cli.numbers import Seconds
from cco_sidecar.cli.process import end_signal
from cco_sidecar.cli.terminal import counted, echo
from cco_sidecar.client.sync import Client
from cco_sidecar.core import descriptors
from cco_sidecar.core.environment import RUNNER_TOKEN
from cco_sidecar.core.errors import SettingsError
from cco_sidecar.core.ids import is_id
from cco_sidecar.core.settings import Settings
from orchestra.v1 import runner_service_pb2 as pb

if TYPE_CHECKING:
    from cco_sidecar.joined.runner import Joining

_STORAGE = Path("~/.local/state/cco-runner")


@click.group(name="runner", cls=Group)
def command() -> None:
    """Run agents on other machines: see docs/runners.md."""


@command.command()
@click.argument("name")
@click.option("--tag", "tags", multiple=True, help="A tag that it may have; repeatable.  [default: any]")
@click.option("--ttl", type=Seconds(60, 30 * 86_400), help="Seconds (or 12h) until it expires.  [default: 30 days]")
@connected
def token(client: Client, name: str, tags: tuple[str, ...], ttl: int | None) -> None:
    """Create the token with which the runner NAME joins. A runner that is connected renews it."""
    echo(client.runners.create_token(name, tags=tags, ttl_seconds=ttl).jwt_token)
    bound = "".join(f" --tag {tag}" for tag in tags)
    echo(
        f"on the other machine, set {RUNNER_TOKEN} to it, then: cco runner join --url URL{bound}\n"
        "where URL is how that machine reaches the REST port of the sidecar",
        err=True,
    )


@command.command(name="list")
@out.formatted
@connected
def list_(client: Client, form: str | None, output: Path | None) -> None:
    """Show the runners that are connected."""
    found = client.runners.list()
    out.message(
        pb.ListRunnersResponse(runners=found),
        form,
        output,
        lambda: "\n".join(map(_line, found)) or "no runner is connected",
    )


def _line(runner: pb.Runner) -> str:
    slots = f"{runner.running} of {runner.capacity} slots in use" if runner.capacity else f"{runner.running} running"
    offers = (("tags", runner.tags), ("types", runner.agent_types), ("projects", runner.project_ids))
    told = "".join(f", {name} {' '.join(values)}" for name, values in offers if values)
    lost = "" if runner.connected else ", connection interrupted"
    return f"{runner.runner_id} on {runner.host}, version {runner.version}: {slots}{told}{lost}"


@command.command()
@click.option("--url", required=True, metavar="URL", help="URL of a sidecar, or of the load balancer of several.")
@click.option("--grpc", "grpc_target", default="", metavar="HOST:PORT", help="Its gRPC port.  [default: the next port]")
@click.option(
    "--token",
    envvar=RUNNER_TOKEN,
    metavar="JWT",
    help=f"Token of the runner; better in {RUNNER_TOKEN}.  [default: that of the last time]",
    default="",
)
@click.option("--tag", "tags", multiple=True, help="What distinguishes it, such as gpu. Can be given several times.")
@click.option("--type", "agent_types", multiple=True, help="An agent type that it runs.  [default: all]")
@click.option(
    "--capacity",
    type=click.IntRange(min=0),
    default=os.cpu_count() or 1,
    help="Agents at a time; 0 for no limit.  [default: processors]",
)
@click.option(
    "--project", "projects", multiple=True, metavar="[ID=]PATH|ID=URL", help="A repository; repeatable.  [default: .]"
)
@click.option("--storage", type=click.Path(path_type=Path), help=f"Storage directory.  [default: {_STORAGE}]")
@click.option("--port", type=click.IntRange(0, 65534), default=0, help="Port for its agents.  [default: any]")
@click.option("--ca", "ca_file", metavar="FILE", help="CA of the sidecar's certificate.  [default: the system's]")
@click.option("--cert", "cert_file", metavar="FILE", help="Client certificate to present to the sidecar.")
@click.option("--key", "key_file", metavar="FILE", help="Key of the client certificate.  [default: in its file]")
@click.option("--insecure", is_flag=True, help="Send the token without TLS, on a network that you trust.")
@click.pass_context
def join(
    ctx: click.Context,
    url: str,
    grpc_target: str,
    token: str,
    tags: tuple[str, ...],
    agent_types: tuple[str, ...],
    capacity: int,
    projects: tuple[str, ...],
    storage: Path | None,
    port: int,
    ca_file: str | None,
    cert_file: str | None,
    key_file: str | None,
    insecure: bool,
) -> None:
    """Connect this machine to the sidecar at URL and run agents for it, until stopped.

    No port has to be open. SIGTERM and SIGINT end its agents, which are then continued elsewhere;
    SIGHUP leaves them to the next 'cco runner join' with the same storage.
    """
    from cco_sidecar.joined.runner import Joining

    pairs = [_project(each) for each in projects]
    named = dict(pairs)
    if "://" in named.get("", ""):
        raise click.UsageError(f"--project: a URL needs an ID, as in --project shop={named['']}")
    if len(named) < len(pairs):
        raise click.UsageError("--project: give each repository an ID of its own, as in --project shop=~/src/shop")
    flags: dict[str, Any] = {
        "storage": str(storage or _STORAGE.expanduser()),
        "port": port,
        "grpc_port": port + 1 if port else 0,
    }
    flags["project_root"] = named.pop("", None) or str(Path.cwd())
    try:
        settings = settings_of(ctx, service=False, **flags, projects=named or None)
    except SettingsError as problem:
        raise SettingsError(str(problem).replace("--project-root", "--project")) from problem
    joining = Joining(
        url=url,
        grpc_target=grpc_target,
        token=token.strip(),
        tags=tags,
        agent_types=agent_types,
        capacity=capacity,
        projects=tuple(sorted(named)),
        ca_file=ca_file,
        cert_file=cert_file,
        key_file=key_file,
        insecure=insecure,
    )
    descriptors.raise_limit()
    import uvloop

    uvloop.run(_run(joining, settings))


def _project(given: str) -> tuple[str, str]:
    name, equals, path = given.partition("=")
    return (name, path) if equals and is_id(name) else ("", given)


class _Shown(logging.Handler):
    """Shows problems to whoever started the runner, too."""

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(OSError):
            echo(record.getMessage(), err=True)


async def _run(joining: Joining, settings: Settings) -> None:
    from cco_sidecar.core import logs
    from cco_sidecar.joined.runner import JoinedRunner

    runner = JoinedRunner(joining, settings)
    logs.set_up(settings.storage / "logs", settings.log_level)
    logging.getLogger("cco_sidecar.joined").addHandler(_Shown(logging.WARNING))
    ended = end_signal()
    try:
        await runner.start()
        echo(f"runner {runner.offer.runner_id}: joining {joining.url}")
        waits: set[asyncio.Future[Any]] = {runner.joined, ended}
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        if runner.joined.done():
            slots = counted(joining.capacity, "agent") if joining.capacity else "any number of agents"
            echo(f"joined {runner.joined.result()}; ready for {slots}")
        await ended
        leaves = ended.result() is signal.SIGHUP
        echo(
            "leaving the agents running; the next 'cco runner join' picks them up"
            if leaves
            else "ending the agents ..."
        )
    except OSError as problem:
        where = problem.filename or settings.storage
        raise SettingsError(f"cannot use {where}: {problem.strerror or problem}") from problem
    finally:
        await runner.stop(keep_agents=ended.done() and ended.result() is signal.SIGHUP)
