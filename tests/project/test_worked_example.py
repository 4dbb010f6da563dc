"""The worked example of CONTRIBUTING.md works, and a message names each piece that is left out."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.support.repositories import OURS
from tests.support.worked_example import Copy, steps

from cco_sidecar.testing.process import SidecarProcess

GUIDE = OURS / "CONTRIBUTING.md"
DOCS = "tests/project/test_docs.py"
PROTO = "note_service.proto"
SERVICES = "src/cco_sidecar/services/notes"
TABLE = "tests/e2e/permissions/test_table.py"
_BIN = Path(sys.executable).parent
_OVER_GRPC = """
import sys

import grpc
from orchestra.v1 import note_service_pb2, note_service_pb2_grpc

target, token = sys.argv[1:]
with grpc.insecure_channel(target) as channel:
    stub = note_service_pb2_grpc.NoteServiceStub(channel)
    request = note_service_pb2.AddNoteRequest(text="over gRPC")
    print(stub.AddNote(request, metadata=[("authorization", f"Bearer {token}")]).event_id)
"""


@pytest.fixture
def applied(tmp_path: Path) -> Callable[..., Copy]:
    """Applies the example to a copy, except for the step whose name begins with ``without``."""

    def apply(without: str = "", *, generate: bool = True) -> Copy:
        copy = Copy(tmp_path / "copy")
        every = steps(GUIDE)
        left_out = [step for step in every if without and step.name.startswith(without)]
        assert len(left_out) == bool(without), [step.name for step in every]
        for step in every:
            if step not in left_out:
                copy.apply(step)
        if generate and (copy.root / "proto/orchestra/v1" / PROTO).exists():
            copy.generate(PROTO)
        return copy

    return apply


@contextmanager
def running(copy: Copy) -> Iterator[SidecarProcess]:
    sidecar = SidecarProcess(copy.root.parent / "storage", copy.root, environment=copy.environment)
    try:
        yield sidecar
    finally:
        complaints = sidecar.stop()
    assert complaints == ""


def test_the_new_rpc_is_served_over_both_transports(applied: Callable[..., Copy]) -> None:
    copy = applied()
    with running(copy) as sidecar:
        agent = sidecar.agent(issue="issue-1")
        over_rest = sidecar.request("POST", "/api/notes", agent, json={"text": "over REST"})
        assert over_rest.status_code == 201, over_rest.text
        over_grpc = copy.run(sys.executable, "-c", _OVER_GRPC, sidecar.target, agent.token)
        assert over_grpc.returncode == 0, over_grpc.stderr
        events = sidecar.request("GET", "/api/events?since=0&event_type=note_added", agent).json()["events"]
        assert [event["event_id"] for event in events] == [over_rest.json()["event_id"], over_grpc.stdout.strip()]
        assert [event["data"] for event in events] == [
            {"issue_id": "issue-1", "text": text} for text in ("over REST", "over gRPC")
        ]
        # What the proto declares is enforced.
        for body, status, code in (
            ({"text": "x", "issue_id": "issue-2"}, 403, "AUTH_003"),
            ({"text": "x", "project_id": "another"}, 404, "PRJ_001"),
            ({}, 400, "REQ_001"),
        ):
            refusal = sidecar.request("POST", "/api/notes", agent, json=body)
            assert (refusal.status_code, refusal.json()["code"]) == (status, code), refusal.text


def test_the_example_passes_the_checks(applied: Callable[..., Copy]) -> None:
    copy = applied()
    for command in (("ruff", "check", "."), ("ruff", "format", "--check", "."), ("lint-imports", "--no-cache")):
        done = copy.run(_BIN / command[0], *command[1:])
        assert done.returncode == 0, done.stdout + done.stderr
    copy.generate_openapi()
    done = copy.test(
        f"{DOCS}::test_all_paths_are_documented",
        f"{DOCS}::test_all_services_are_documented",
        f"{TABLE}::test_every_rpc_has_a_row",
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("without", "message"),
    [
        ("proto/orchestra/v1/note_service.proto", "No module named 'orchestra.v1.note_service_pb2'"),
        (f"{SERVICES}/servicer.py", "No module named 'cco_sidecar.services.notes.servicer'"),
        (f"{SERVICES}/add.py", "No module named 'cco_sidecar.services.notes.add'"),
        ("src/cco_sidecar/app.py: from", "name 'NoteServicer' is not defined"),
        (
            "src/cco_sidecar/app.py: NoteServicer",
            "service orchestra.v1.NoteService has no servicer: add a NoteServicer to _servicers() in app.py",
        ),
    ],
)
def test_the_sidecar_does_not_start_without_a_piece(applied: Callable[..., Copy], without: str, message: str) -> None:
    assert_start_refused(applied(without), message)


def test_the_sidecar_does_not_start_without_generated_stubs(applied: Callable[..., Copy]) -> None:
    assert_start_refused(applied(generate=False), "No module named 'orchestra.v1.note_service_pb2'")


def test_the_sidecar_does_not_start_without_the_method(applied: Callable[..., Copy]) -> None:
    copy = applied()
    copy.replace(f"{SERVICES}/servicer.py", "async def AddNote(", "async def Add(")
    assert_start_refused(
        copy, "cco_sidecar.services.notes.servicer.NoteServicer has no method AddNote of orchestra.v1.NoteService"
    )


def assert_start_refused(copy: Copy, message: str) -> None:
    with pytest.raises(RuntimeError) as refused, running(copy):
        pass
    assert message in str(refused.value)
    assert f"`{message}`" in GUIDE.read_text(), "CONTRIBUTING.md quotes the message"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('      post: "/api/notes"\n      body: "*"\n', "add its REST route, option (google.api.http)"),
        ('      body: "*"\n', 'add body: "*" to option (google.api.http), or its JSON body is ignored'),
        (
            "      permission: PERMISSION_PUBLISH_EVENTS\n",
            "add permission to option (call), or it is denied to everyone",
        ),
        ("      success_code: 201\n", "add a success_code from 200 to 299 to option (call)"),
        (
            "      mode: MODE_UNARY\n",
            "add the mode to option (call): MODE_STREAM if and only if it returns a stream",
        ),
        (
            "    scope: SCOPE_WRITE_ISSUE\n",
            "add a scope to issue_id in AddNoteRequest: declare which values an agent may use",
        ),
    ],
)
def test_the_services_are_refused_without_an_option(applied: Callable[..., Copy], line: str, message: str) -> None:
    copy = applied()
    copy.replace(f"proto/orchestra/v1/{PROTO}", line, "")
    copy.generate(PROTO)
    done = copy.run(sys.executable, "-c", "from cco_sidecar.core.services import services; services()")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith(
        f"rpc orchestra.v1.NoteService.AddNote in orchestra/v1/note_service.proto: {message}"
    )
    assert f"`{message}`" in GUIDE.read_text(), "CONTRIBUTING.md quotes the message"


def test_a_package_without_init_is_reported(applied: Callable[..., Copy]) -> None:
    copy = applied(f"{SERVICES}/__init__.py")
    done = copy.run(_BIN / "ruff", "check", "src")
    assert done.returncode == 1 and "INP001" in done.stdout and "services/notes" in done.stdout


def test_an_rpc_without_documentation_and_permissions_is_named(applied: Callable[..., Copy]) -> None:
    copy = applied("tests/e2e/permissions/table.py")
    page = copy.root / "docs" / "rest.md"
    page.write_text(re.sub(r"^\| `POST /api/notes` .*\n", "", page.read_text(), flags=re.MULTILINE))
    copy.generate_openapi()
    failed = copy.test(f"{DOCS}::test_all_paths_are_documented", f"{TABLE}::test_every_rpc_has_a_row")
    assert failed.returncode == 1 and "2 failed" in failed.stdout, failed.stdout
    assert "POST /api/notes" in failed.stdout, failed.stdout
    assert "AddNote" in failed.stdout and "write down who may call it" in failed.stdout, failed.stdout
