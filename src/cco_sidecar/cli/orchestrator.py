"""The commands of the Agent Orchestrator Framework, with its arguments, output and exit status: `ao-new` and others.

An error is a line on stderr that begins with ``Error:``, with exit status 1; 2 for wrong arguments.
"""

from __future__ import annotations

from pathlib import Path

import click

from cco_sidecar.cli.connect import connected, find, settings_of
from cco_sidecar.cli.sessions import print_result, prompt_option, read_prompt, status_of
from cco_sidecar.cli.standalone import program
from cco_sidecar.cli.terminal import echo, one_line, visible
from cco_sidecar.client import Client
from cco_sidecar.client.errors import NotFoundError
from cco_sidecar.core import codec
from orchestra.v1.session_service_pb2 import Session

_PROJECT_DIR = "AGENT_ORCHESTRATOR_PROJECT_DIR"
_ACTIVE = ("pending", "running")
_project_dir = click.option(
    "--project-dir",
    type=click.Path(path_type=Path),
    envvar=_PROJECT_DIR,
    help="Directory of the project.  [default: that of the sidecar]",
)


@click.group(hidden=True)
def command() -> None:
    """Commands of the Agent Orchestrator Framework."""


def _project(project_dir: Path | None) -> str:
    """Returns the project with this directory; empty for the default one. Raises ClickException."""
    if project_dir is None:
        return ""
    known = find(settings_of(click.get_current_context()), None).known
    directories = dict(known.directories) if known is not None else {}
    wanted = project_dir.resolve()
    found = next((name for name, root in directories.items() if Path(root).resolve() == wanted), None)
    if found is None:
        there = ", ".join(sorted(set(directories.values()))) or "none that this command knows"
        raise click.ClickException(
            f"no project of the sidecar has the directory {wanted}; it has: {there}. Add it to 'projects' of its "
            "configuration"
        )
    return found


@command.command(name="new")
@click.argument("session_name")
@prompt_option
@click.option("--agent", "--blueprint", "agent", default="", help="Blueprint to use.")
@_project_dir
@connected
def new(client: Client, session_name: str, prompt: str | None, agent: str, project_dir: Path | None) -> None:
    """Start a session, wait for its end, and print its result."""
    project = _project(project_dir)
    if _find(client, session_name, project) is not None:
        raise click.ClickException(
            f"Session '{session_name}' already exists. Use 'ao-resume' to continue it, or choose a different name"
        )
    if agent:
        _require_active(client, agent)
    print_result(client, client.sessions.create(session_name, read_prompt(prompt), blueprint=agent, project_id=project))


def _require_active(client: Client, agent: str) -> None:
    try:
        found = client.blueprints.get(agent)
    except NotFoundError:
        raise click.ClickException(f"Agent not found: {agent}") from None
    if codec.to_dict(found)["status"] == "inactive":
        raise click.ClickException(f"Agent '{agent}' is inactive")


@command.command(name="resume")
@click.argument("session_name")
@prompt_option
@_project_dir
@connected
def resume(client: Client, session_name: str, prompt: str | None, project_dir: Path | None) -> None:
    """Resume a session, wait for its end, and print its result."""
    project = _project(project_dir)
    if _find(client, session_name, project) is None:
        raise click.ClickException(f"Session '{session_name}' does not exist. Use 'ao-new' to create it")
    print_result(client, client.sessions.resume(session_name, read_prompt(prompt), project_id=project))


@command.command(name="status")
@click.argument("session_name")
@_project_dir
@connected
def status(client: Client, session_name: str, project_dir: Path | None) -> None:
    """Print running, finished or not_existent."""
    session = _find(client, session_name, _project(project_dir))
    if session is None:
        echo("not_existent")
    else:
        echo("running" if status_of(session) in _ACTIVE else "finished")


@command.command(name="get-result")
@click.argument("session_name")
@_project_dir
@connected
def get_result(client: Client, session_name: str, project_dir: Path | None) -> None:
    """Print the result of a session that has ended."""
    project = _project(project_dir)
    session = _find(client, session_name, project)
    if session is None:
        raise click.ClickException(f"Session '{session_name}' does not exist")
    if status_of(session) in _ACTIVE:
        raise click.ClickException(
            f"Session '{session_name}' is still running. Wait for its end, or check it with ao-status"
        )
    text = client.sessions.result(session_name, project_id=project).text
    if not text:
        raise click.ClickException(f"Session '{session_name}' has no result: {session.reason}")
    echo(text)


@command.command(name="list-sessions")
@_project_dir
@connected
def list_sessions(client: Client, project_dir: Path | None) -> None:
    """List sessions, the newest first."""
    none = True
    for session in client.sessions.iterate(project_id=_project(project_dir)):
        none = False
        directory = session.project_dir or "unknown"
        echo(f"{session.name} (session-id: {session.session_id}, project-dir: {one_line(directory)})")
    if none:
        echo("No sessions found")


@command.command(name="list-agents")
@connected
def list_agents(client: Client) -> None:
    """List the blueprints and agent types whose agents can be started."""
    found = client.blueprints.list(status="active").blueprints
    blocks = [f"{each.name}:\n{each.description}\n" for each in found]
    echo("\n---\n\n".join(blocks) if blocks else "No agent blueprints found")


@command.command(name="show-config")
@click.argument("session_name")
@_project_dir
@connected
def show_config(client: Client, session_name: str, project_dir: Path | None) -> None:
    """Print how a session is set up."""
    session = _find(client, session_name, _project(project_dir))
    if session is None:
        raise click.ClickException(f"Session '{session_name}' does not exist")
    resumed = session.last_resumed_at if session.HasField("last_resumed_at") else session.created_at
    echo(f"Configuration for session '{session_name}':")
    for label, value in (
        ("Session ID", session.session_id),
        ("Project dir", session.project_dir or "unknown"),
        ("Agent", session.blueprint or "none"),
        ("Created", codec.rfc3339(session.created_at)),
        ("Last resumed", codec.rfc3339(resumed)),
    ):
        echo(f"  {label + ':':<16} {one_line(value)}")


@command.command(name="clean")
@_project_dir
@connected
def clean(client: Client, project_dir: Path | None) -> None:
    """Stop and remove all sessions."""
    project, count = _project(project_dir), 0
    for session in list(client.sessions.iterate(project_id=project)):
        client.sessions.delete(session.session_id, force=True, project_id=project)
        count += 1
    echo("All sessions removed" if count else "No sessions to remove")


def _find(client: Client, name: str, project: str) -> Session | None:
    """Raises ClickException for what cannot be a name."""
    if not 1 <= len(name) <= 60 or not all(sign.isascii() and (sign.isalnum() or sign in "_-") for sign in name):
        raise click.ClickException("Session name: expected 1 to 60 letters, digits, dashes and underscores")
    try:
        return client.sessions.get(name, project_id=project)
    except NotFoundError:
        return None


def _say(text: str) -> None:
    echo(f"Error: {visible(text)}", err=True)


ao_new, ao_resume, ao_status, ao_get_result = (program(each, _say) for each in (new, resume, status, get_result))
ao_list_sessions, ao_list_agents, ao_show_config, ao_clean = (
    program(each, _say) for each in (list_sessions, list_agents, show_config, clean)
)
