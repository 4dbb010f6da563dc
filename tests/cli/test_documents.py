"""`cco documents` and `doc-*`: the commands of the context store, with its arguments and its output."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.support.commands import fails, misused, printed

from cco_sidecar.client import Client
from cco_sidecar.testing.process import SidecarProcess, run_cco


def documents(sidecar: SidecarProcess, *line: str, **more: Any) -> Any:
    return json.loads(printed(run_cco(sidecar, "documents", *line, **more)))


@pytest.fixture
def pushed(sidecar: SidecarProcess, tmp_path: Path) -> dict[str, Any]:
    file = tmp_path / "spec.md"
    file.write_text("The API uses tokens.\n")
    made: dict[str, Any] = documents(sidecar, "push", str(file), "--tags", "api, v2", "--description", "about tokens")
    return made


def test_a_file_is_pushed_found_and_pulled(sidecar: SidecarProcess, pushed: dict[str, Any], tmp_path: Path) -> None:
    assert pushed["id"].startswith("doc_") and pushed["url"].endswith(f"/api/documents/{pushed['id']}/content")
    assert (pushed["filename"], pushed["content_type"], pushed["size_bytes"]) == ("spec.md", "text/markdown", 21)
    assert (pushed["tags"], pushed["metadata"]) == (["api", "v2"], {"description": "about tokens"})
    assert documents(sidecar, "info", pushed["id"]) == pushed | {"relations": {}}
    assert pushed in documents(sidecar, "query", "--name", "SPEC", "--tags", "v2,api")
    assert documents(sidecar, "query", "--tags", "api,nothing") == []
    target = tmp_path / "copy.md"
    assert documents(sidecar, "pull", pushed["id"], "-o", str(target)) == {
        "success": True,
        "document_id": pushed["id"],
        "filename": str(target),
        "size_bytes": 21,
    }
    assert target.read_text() == "The API uses tokens.\n"


def test_pull_replaces_only_what_is_named(sidecar: SidecarProcess, pushed: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "spec.md").write_text("mine")
    fails(run_cco(sidecar, "documents", "pull", pushed["id"], cwd=tmp_path), "spec.md exists")
    assert (tmp_path / "spec.md").read_text() == "mine"
    (tmp_path / "elsewhere").mkdir()
    documents(sidecar, "pull", pushed["id"], cwd=tmp_path / "elsewhere")
    assert (tmp_path / "elsewhere" / "spec.md").read_text() == "The API uses tokens.\n"


def test_a_text_is_printed_as_it_is(sidecar: SidecarProcess, pushed: dict[str, Any]) -> None:
    done = run_cco(sidecar, "documents", "read", pushed["id"])
    assert (done.stdout, done.stderr, done.returncode) == ("The API uses tokens.\n", "", 0)
    part = run_cco(sidecar, "documents", "read", pushed["id"], "-o", "4", "-l", "3")
    assert part.stdout == "API" and json.loads(part.stderr) == {"total_chars": 21, "range": "4-7"}


def test_bytes_are_pulled_not_read(sidecar: SidecarProcess, tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"\xff\x00")
    made = documents(sidecar, "push", str(tmp_path / "a.bin"), "--name", "b.bin")
    assert made["filename"] == "b.bin" and "total_chars" not in made
    fails(
        run_cco(sidecar, "documents", "read", made["id"]),
        "is not text (application/octet-stream); use 'doc-pull' to get the file",
    )
    documents(sidecar, "pull", made["id"], "--output", str(tmp_path / "c"))
    assert (tmp_path / "c").read_bytes() == b"\xff\x00"


def test_words_are_searched(sidecar: SidecarProcess, pushed: dict[str, Any]) -> None:
    found = documents(sidecar, "search", "token* api", "-l", "100")
    assert found["query"] == "token* api"
    (mine,) = (each for each in found["results"] if each["document_id"] == pushed["id"])
    assert mine["filename"] == "spec.md" and mine["sections"] == [{"score": 1, "offset": 0, "limit": 21}]


def test_a_document_is_created_written_and_edited(sidecar: SidecarProcess) -> None:
    made = documents(sidecar, "create", "--name", "plan.md", "--tags", "plan")
    assert (made["size_bytes"], made["revision"]) == (0, 1)
    assert documents(sidecar, "write", made["id"], "--content", "one two two")["revision"] == 2
    edited = documents(sidecar, "edit", made["id"], "--old-string", "two", "--new-string", "2", "--replace-all")
    assert (edited["replacements_made"], edited["revision"]) == (2, 3)
    edited = documents(sidecar, "edit", made["id"], "--offset", "0", "--length", "3", "--new-string", "1")
    assert edited["edit_range"] == {"offset": 0, "old_length": 3, "new_length": 1}
    spec = json.dumps({"old_string": "1 2", "new_string": "12"})
    assert documents(sidecar, "edit", made["id"], "--json", input=spec)["replacements_made"] == 1
    assert printed(run_cco(sidecar, "documents", "read", made["id"])) == "12 2"
    documents(sidecar, "write", made["id"], input="from stdin")
    assert printed(run_cco(sidecar, "documents", "read", made["id"])) == "from stdin"
    assert documents(sidecar, "delete", made["id"])["success"] is True
    fails(run_cco(sidecar, "documents", "info", made["id"]), "not found")


@pytest.mark.parametrize(
    ("spec", "says"),
    [("nonsense", "stdin is not JSON"), ("[]", "expected a JSON object"), ('{"offset": "0"}', "stdin: offset")],
)
def test_an_edit_that_cannot_be_read_is_refused(
    sidecar: SidecarProcess, pushed: dict[str, Any], spec: str, says: str
) -> None:
    fails(run_cco(sidecar, "documents", "edit", pushed["id"], "--json", input=spec), says)
    misused(run_cco(sidecar, "documents", "edit", pushed["id"], "--old-string", "x"), "--new-string is required")


def test_the_programs_report_errors_as_json(sidecar: SidecarProcess, pushed: dict[str, Any]) -> None:
    environment = os.environ | {"CCO_SIDECAR_STORAGE": str(sidecar.storage), "HOME": str(sidecar.storage.parent)}

    def program(name: str, *line: str) -> subprocess.CompletedProcess[str]:
        script = f"from cco_sidecar.cli.documents import {name}; {name}()"
        return subprocess.run(
            [sys.executable, "-c", script, *line],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    assert json.loads(program("doc_info", pushed["id"]).stdout) == pushed | {"relations": {}}
    missing = program("doc_info", "doc_0")
    assert (missing.returncode, missing.stdout) == (1, "") and "doc_0" in json.loads(missing.stderr)["error"]
    nowhere = program("doc_push", "/nowhere")
    assert nowhere.returncode == 1 and "does not exist" in json.loads(nowhere.stderr)["error"]
    usage = program("doc_push")
    assert usage.returncode == 2 and "documents" not in usage.stderr


def test_documents_are_linked(sidecar: SidecarProcess) -> None:
    first, second = [documents(sidecar, "create", "--name", f"{n}.md")["id"] for n in range(2)]
    names = [each["name"] for each in documents(sidecar, "link", "--types")]
    assert names == ["parent-child", "related", "predecessor-successor"]
    made = documents(sidecar, "link", "--create", first, second, "--type", "parent-child", "--from-note", "n")
    assert made["success"] is True and made["from_relation"]["relation_type"] == "child"
    relation = made["from_relation"]["id"]
    assert documents(sidecar, "link", "--update", relation, "--note", "m")["note"] == "m"
    assert documents(sidecar, "link", "--update", relation, "--to-note", "p")["document_id"] == second
    assert documents(sidecar, "info", first)["relations"]["child"][0]["related_document_id"] == second
    assert documents(sidecar, "link", "--remove", relation)["deleted_relation_ids"] == [relation]
    assert documents(sidecar, "info", first)["relations"] == {}
    fails(run_cco(sidecar, "documents", "link"), "use one of --types, --create, --update and --remove")
    fails(run_cco(sidecar, "documents", "link", "--create", first), "needs the second document")
    fails(run_cco(sidecar, "documents", "link", "--update", relation), "needs --note or --to-note")
    child = documents(sidecar, "link", "--create", first, second, "--type", "parent-child")
    assert child["success"] is True
    assert documents(sidecar, "delete", first)["deleted_document_ids"] == [first, second]


def test_a_pulled_document_follows_no_link(sidecar: SidecarProcess, tmp_path: Path) -> None:
    (tmp_path / "victim.txt").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "source").write_text("text")
    made = documents(sidecar, "push", str(tmp_path / "source"), "--name", "victim.txt")
    fails(run_cco(sidecar, "documents", "pull", made["id"], cwd=tmp_path), "victim.txt exists")
    assert not (tmp_path / "elsewhere").exists()


def test_on_a_terminal_nothing_is_a_command_for_it(sidecar: SidecarProcess, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    made = documents(
        sidecar, "push", str(tmp_path / "a"), "--name", "a\u009b31m\u202eb.md", "--description", "\x7f\x1b[2J"
    )
    shown = on_terminal(sidecar, "documents", "info", made["id"])
    assert "\\u009b31m\\u202eb.md" in shown and not set(shown) & {"\x1b", "\x7f", "\u009b", "\u202e"}
    with Client(sidecar.url, token=sidecar.operator.token) as client:
        session = client.sessions.register("hostile", project_dir="/p\x1b[2J")
        text = "\x1b]0;owned\x07"
        content = [{"type": "text", "text": text}]
        client.sessions.add_event(session.session_id, "message", role="assistant", content=content)
        client.sessions.add_event(session.session_id, "session_stop", exit_code=0)
    for arguments in (["ao", "get-result", "hostile"], ["ao", "list-sessions"], ["sessions", "result", "hostile"]):
        shown = on_terminal(sidecar, *arguments)
        assert "x1b" in shown and not set(shown) & {"\x1b", "\x07"}, arguments


def on_terminal(sidecar: SidecarProcess, *arguments: str) -> str:
    """Returns what a command prints on a terminal."""
    leader, follower = pty.openpty()
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("CCO_", "JWT_", "SIDECAR_"))}
    ours = {"CCO_SIDECAR_STORAGE": str(sidecar.storage), "CCO_SIDECAR_PORT": str(sidecar.port), "NO_COLOR": "1"}
    command = [sys.executable, "-m", "cco_sidecar.cli.main", *arguments]
    with subprocess.Popen(
        command, env=clean | ours | {"HOME": str(sidecar.storage.parent)}, stdout=follower
    ) as process:
        os.close(follower)
        found = b""
        with contextlib.suppress(OSError):
            while part := os.read(leader, 65536):
                found += part
        assert process.wait(60) == 0
    os.close(leader)
    return found.decode().replace("\r\n", "\n")


@pytest.mark.parametrize("name", ["ao-get-result", "doc-read", "cco"])
def test_what_the_encoding_does_not_have_is_escaped(sidecar: SidecarProcess, name: str) -> None:
    with Client(sidecar.url, token=sidecar.operator.token) as client:
        made = client.documents.create("a.md", "well done \U0001f44d")
        session = client.sessions.register(f"enc-{name}")
        content = [{"type": "text", "text": "well done \U0001f44d"}]
        client.sessions.add_event(session.session_id, "message", role="assistant", content=content)
        client.sessions.add_event(session.session_id, "session_stop", exit_code=0)
    arguments = {
        "ao-get-result": [f"enc-{name}"],
        "doc-read": [made.document_id],
        "cco": ["sessions", "result", f"enc-{name}"],
    }[name]
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("CCO_", "JWT_", "SIDECAR_"))}
    ours = {"CCO_SIDECAR_STORAGE": str(sidecar.storage), "CCO_SIDECAR_PORT": str(sidecar.port)}
    program = Path(sys.executable).with_name(name)
    done = subprocess.run(
        [program, *arguments],
        env=clean | ours | {"HOME": str(sidecar.storage.parent), "PYTHONIOENCODING": "cp1252", "PYTHONUTF8": "0"},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == b"well done \\U0001f44d"
