"""The checks of `cco doctor` that look at other sidecars and at runners."""

from __future__ import annotations

from collections.abc import Iterator

from cco_sidecar.cli import process
from cco_sidecar.cli.connect import find, operator_client, port_answers
from cco_sidecar.cli.findings import Finding, Level
from cco_sidecar.cli.terminal import counted
from cco_sidecar.core.hosts import is_loopback, without_port
from cco_sidecar.core.settings import Settings


def cluster(settings: Settings) -> Iterator[Finding]:
    """Checks what the sidecar knows of the others that share its records and events."""
    if not settings.shares or process.running(settings.real_pid_file) is None:
        return
    with operator_client(find(settings, None)) as client:
        known = client.status().cluster
    for member in known.members:
        name = f"{member.sidecar_id} on {member.host}"
        if not member.alive:
            text = f"{name} has not been heard from for {member.silent_seconds:.0f} s"
            fix = f"start it again; after {settings.cluster_lost_after} s others take over its agents"
            yield Finding("cluster", Level.WARNING, text, fix)
        elif is_loopback(without_port(member.address)) and len({each.host for each in known.members}) > 1:
            text = f"{name} says that it is at {member.address}, which other machines cannot reach"
            yield Finding("cluster", Level.BROKEN, text, "set cluster.address there")
        elif not _answers(member.address):
            text = f"nothing answers at {member.address}, the address of {name}"
            yield Finding("cluster", Level.BROKEN, text, "correct cluster.address there, or the firewall")
    versions = sorted({member.version for member in known.members if member.alive})
    if len(versions) > 1:
        text = f"versions {' and '.join(versions)} run side by side"
        yield Finding("cluster", Level.WARNING, text, "update the older ones")
    alive = sum(member.alive for member in known.members)
    level = Level.OK if known.leader_id else Level.BROKEN
    leads = f"{known.leader_id} leads" if known.leader_id else "none leads: consumers and schedules stand still"
    fix = "" if known.leader_id else "wait ten seconds; then look at the logs, and at the database"
    yield Finding("cluster", level, f"{alive} of {len(known.members)} sidecars are up, {leads}", fix)


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    return port_answers(host.strip("[]"), int(port))


def runners(settings: Settings) -> Iterator[Finding]:
    """Checks the runners."""
    if process.running(settings.real_pid_file) is None:
        return
    with operator_client(find(settings, None)) as client:
        found, version = client.runners.list(), client.health().version
    for runner in found:
        name = f"{runner.runner_id} on {runner.host}"
        if not runner.connected:
            text = f"the connection of {name} is interrupted"
            fix = f"look at its log; after {settings.cluster_lost_after} s its agents start again elsewhere"
            yield Finding("runners", Level.WARNING, text, fix)
        elif runner.version != version:
            text = f"{name} has version {runner.version}, the sidecar {version}"
            yield Finding("runners", Level.WARNING, text, "install the same version, then end it with SIGHUP")
        else:
            yield Finding("runners", Level.OK, f"{name} is connected, with {counted(runner.running, 'agent')}")
