"""`cco credentials store|get|list|delete`: values go in and come out, and are shown nowhere else."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from tests.support.commands import fails, in_process, misused, printed, spawn
from tests.support.sidecars import fresh

from cco_sidecar.testing.process import SidecarProcess, run_cco

SECRET = "s3cr3t-of-the-deployment-41"


@pytest.fixture
def name() -> str:
    return fresh("KEY").replace("-", "_")


def got(sidecar: SidecarProcess, name: str) -> str:
    return printed(run_cco(sidecar, "credentials", "get", name))


def test_a_value_from_the_command_line_is_stored_replaced_and_deleted(sidecar: SidecarProcess, name: str) -> None:
    for value in (SECRET, 'another one, with spaces = and "quotes" ż'):
        assert printed(run_cco(sidecar, "credentials", "store", name, value)) == f"stored {name}\n"
        assert got(sidecar, name) == f"{value}\n"
    assert printed(run_cco(sidecar, "credentials", "delete", name)) == f"deleted {name}\n"
    for verb in ("get", "delete"):
        fails(run_cco(sidecar, "credentials", verb, name), f"credential '{name}' not found")


@pytest.mark.parametrize(
    ("piped", "kept"),
    [("piped\n", "piped"), ("no line end", "no line end"), ("-----BEGIN\na\n-----END\n", "-----BEGIN\na\n-----END")],
)
def test_a_value_from_a_pipe_is_stored_without_its_line_ending(
    sidecar: SidecarProcess, name: str, piped: str, kept: str
) -> None:
    assert printed(run_cco(sidecar, "credentials", "store", name, input=piped)) == f"stored {name}\n"
    assert got(sidecar, name) == f"{kept}\n"


def test_a_list_never_shows_values(sidecar: SidecarProcess, name: str) -> None:
    printed(run_cco(sidecar, "credentials", "store", name, SECRET))
    as_json = json.loads(printed(run_cco(sidecar, "credentials", "list", "--format", "json")))
    (found,) = [each for each in as_json if each["name"] == name]
    assert set(found) == {"name", "created_at", "updated_at"}
    for form in ("text", "table", "csv", "yaml"):
        text = printed(run_cco(sidecar, "credentials", "list", "--format", form))
        assert name in text and SECRET not in text


def test_an_agent_gets_only_what_its_spawn_names(sidecar: SidecarProcess, name: str) -> None:
    printed(run_cco(sidecar, "credentials", "store", name, SECRET))
    shows = f'test -n "${name}" && echo "it is: ${name}"; env | grep -c "^{name}=" || true'
    agent = spawn(sidecar, "--issue", "issue-1", "--credential", name, "--wait", "--", "sh", "-c", shows)
    assert printed(run_cco(sidecar, "agent", "logs", agent)) == "it is: [secret]\n1\n"
    other = spawn(sidecar, "--issue", "issue-1", "--wait", "--", "sh", "-c", shows)
    assert printed(run_cco(sidecar, "agent", "logs", other)) == "0\n"
    shown = printed(run_cco(sidecar, "agent", "show", agent, "--format", "json"))
    assert json.loads(shown)["credentials"] == [name] and SECRET not in shown


def test_the_value_is_nowhere_in_the_storage_and_its_key_is_private(sidecar: SidecarProcess, name: str) -> None:
    printed(run_cco(sidecar, "credentials", "store", name, SECRET))
    assert got(sidecar, name) == f"{SECRET}\n"
    for path in sidecar.storage.rglob("*"):
        assert not path.is_file() or SECRET.encode() not in path.read_bytes(), path
    key = sidecar.storage.parent / ".cco" / "credentials.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600


def test_a_changed_key_is_reported(tmp_path: Path, repository: Path) -> None:
    storage = tmp_path / "storage"
    own = SidecarProcess(storage, repository)
    try:
        key = tmp_path / ".cco" / "credentials.key"
        printed(run_cco(own, "credentials", "store", "KEY", SECRET))
        kept = key.read_text()
        for text in ("00" * 32, "not a key", ""):
            key.write_text(text)
            fails(run_cco(own, "credentials", "get", "KEY"), "[CRD_002]")
        key.unlink()
        fails(run_cco(own, "credentials", "get", "KEY"), "[CRD_002]")
        assert not key.exists()
        key.write_text(kept)
        assert got(own, "KEY") == f"{SECRET}\n"
    finally:
        assert own.stop() == ""


def test_a_value_that_begins_with_a_dash_is_not_echoed(sidecar: SidecarProcess, name: str) -> None:
    """A PEM key begins with dashes. What was typed is a secret even when it was not understood."""
    value = "-----BEGIN KEY-----s3cr3t"
    done = run_cco(sidecar, "credentials", "store", name, value)
    assert "s3cr3t" not in done.stdout + done.stderr
    assert printed(run_cco(sidecar, "credentials", "store", name, "--", value)) == f"stored {name}\n"
    assert got(sidecar, name) == f"{value}\n"


def test_a_value_in_place_of_the_name_is_not_logged(sidecar: SidecarProcess, name: str) -> None:
    value = f"s3cr3t-{name}"
    for line in (("store", value, name), ("get", value), ("delete", value)):
        assert run_cco(sidecar, "credentials", *line).returncode == 1
    assert value not in (sidecar.storage / "logs" / "orchestration.log").read_text()


def test_binary_input_from_a_pipe_is_one_clear_line(sidecar: SidecarProcess, name: str, tmp_path: Path) -> None:
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe")
    for errors in ("strict", "surrogateescape"):
        with binary.open() as stdin:
            environment = [("PYTHONIOENCODING", f"utf-8:{errors}")]
            done = run_cco(sidecar, "credentials", "store", name, stdin=stdin, environment=environment)
        fails(done, "UTF-8")


def test_an_agent_cannot_reach_any_of_them(sidecar: SidecarProcess, name: str) -> None:
    printed(run_cco(sidecar, "credentials", "store", name, SECRET))
    own = [("JWT_TOKEN", sidecar.agent("chief-architect", project="default").token)]
    for line in (["get", name], ["list"], ["store", name, "mine"], ["delete", name]):
        fails(run_cco(sidecar, "credentials", *line, environment=own), "operator")
    assert got(sidecar, name) == f"{SECRET}\n"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (["store", "TWO WORDS", "x"], "'TWO WORDS' is not a valid name of an environment variable"),
        (["store", "9LIVES", "x"], "'9LIVES' is not a valid name of an environment variable"),
        (["store", "LONG", "x" * 65_537], "65536"),
        (["store", "PORT", "caf\udce9"], "UTF-8"),
    ],
)
def test_an_error_is_one_clear_line(sidecar: SidecarProcess, line: list[str], says: str) -> None:
    fails(run_cco(sidecar, "credentials", *line), says)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (["store"], "NAME"),
        (["store", "EMPTY"], "the value is empty"),
        (["store", "EMPTY", ""], "the value is empty"),
        (["store", "KEY", "two", "words"], "words"),
        (["get"], "NAME"),
        (["get", "ONE", "TWO"], "TWO"),
        (["delete"], "NAME"),
        (["ls"], "list"),
        (["list", "--format", "xml"], "xml"),
    ],
)
def test_bad_usage_is_reported(line: list[str], says: str) -> None:
    misused(in_process("credentials", *line), says)
