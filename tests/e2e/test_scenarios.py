"""Sessions and documents, each scenario over every way in: gRPC, REST, the compatibility ports, MCP and the commands.

A scenario is data: steps with one expected outcome each, whichever way they go.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import pytest
import requests
from mcp import Client as McpClient
from mcp.client.streamable_http import streamable_http_client
from tests.cli.test_sessions import ran
from tests.support.sidecars import fresh, until
from tests.wire.test_compat_ports import EXPORT
from tests.wire.test_sessions import Place

from cco_sidecar.client import Client
from cco_sidecar.core.errors import Kind, SidecarError
from cco_sidecar.testing.process import run_cco

NOT_FOUND, CONFLICT, INVALID, FAILED = "not found", "conflict", "invalid", "failed"


class Refused(Exception):
    """What a way in answers instead of a value: one of the names above."""


def raised(condition: bool, what: str) -> None:
    if condition:
        raise Refused(what)


class Way:
    """What can be done over each way in. ``place``: the sidecar; ``directory``: for files."""

    def __init__(self, place: Place, directory: Path) -> None:
        self.place = place
        self.sidecar = place.sidecar
        self.directory = directory

    def close(self) -> None:
        """Releases what is open."""


KINDS = {Kind.NOT_FOUND: NOT_FOUND, Kind.CONFLICT: CONFLICT, Kind.INVALID_REQUEST: INVALID}
STATUSES = {404: NOT_FOUND, 409: CONFLICT, 400: INVALID, 422: INVALID}


class OverGrpc(Way):
    def __init__(self, place: Place, directory: Path) -> None:
        super().__init__(place, directory)
        self._client = Client(place.sidecar.url, token=place.sidecar.operator.token)

    def close(self) -> None:
        self._client.close()

    def _call(self, work: Any, *arguments: Any, **named: Any) -> Any:
        try:
            return work(*arguments, **named)
        except SidecarError as problem:
            raise Refused(KINDS[problem.kind]) from None

    def _ended(self, name: str) -> str:
        found = self._client.sessions.wait(name)
        raised(self._client.sessions.get(name).reason.startswith("exited with code 3"), FAILED)
        return found.text

    def start(self, name: str, prompt: str) -> str:
        self._call(self._client.sessions.create, name, prompt)
        return self._ended(name)

    def resume(self, name: str, prompt: str) -> str:
        self._call(self._client.sessions.resume, name, prompt)
        return self._ended(name)

    def state(self, name: str) -> str:
        try:
            session = self._call(self._client.sessions.get, name)
        except Refused:
            return "not_existent"
        return "finished" if session.HasField("ended_at") else "running"

    def remove(self, name: str) -> None:
        self._call(self._client.sessions.delete, name)

    def push(self, name: str, text: str, tags: str) -> str:
        made = self._call(self._client.documents.create, name, text, tags=tags.split(","))
        return str(made.document_id)

    def query(self, tags: str) -> list[str]:
        return [each.document_id for each in self._client.documents.list(tags=tags.split(",")).documents]

    def read(self, document: str, offset: int | None = None, limit: int | None = None) -> str:
        return str(self._call(self._client.documents.read, document, offset=offset, limit=limit).text)

    def edit(self, document: str, old: str, new: str) -> None:
        self._call(self._client.documents.edit, document, new, old_text=old)

    def search(self, words: str) -> list[str]:
        return [each.document.document_id for each in self._client.documents.search(words)]

    def relate(self, parent: str, child: str) -> None:
        self._call(self._client.documents.relate, parent, child, "parent_child")

    def delete(self, document: str) -> list[str]:
        return sorted(self._call(self._client.documents.delete, document))


class OverRest(Way):
    def _call(self, method: str, path: str, **more: Any) -> Any:
        answer = self.sidecar.request(method, f"/api{path}", self.sidecar.operator, **more)
        raised(not answer.ok, STATUSES.get(answer.status_code, answer.text))
        return answer.json()

    def _ended(self, name: str) -> str:
        found = self._call("GET", f"/sessions/{name}/result?timeout=60000")
        raised(found["status"] == "failed", FAILED)
        return str(found["text"])

    def start(self, name: str, prompt: str) -> str:
        self._call("POST", "/sessions", json={"name": name, "prompt": prompt})
        return self._ended(name)

    def resume(self, name: str, prompt: str) -> str:
        self._call("POST", f"/sessions/{name}/resume", json={"prompt": prompt})
        return self._ended(name)

    def state(self, name: str) -> str:
        try:
            return "finished" if self._call("GET", f"/sessions/{name}").get("ended_at") else "running"
        except Refused:
            return "not_existent"

    def remove(self, name: str) -> None:
        self._call("DELETE", f"/sessions/{name}")

    def push(self, name: str, text: str, tags: str) -> str:
        body = {"filename": name, "text": text, "tags": tags.split(",")}
        return str(self._call("POST", "/documents", json=body)["document_id"])

    def query(self, tags: str) -> list[str]:
        return [each["document_id"] for each in self._call("GET", f"/documents?tags={tags}")["documents"]]

    def read(self, document: str, offset: int | None = None, limit: int | None = None) -> str:
        return str(
            self._call("GET", f"/documents/{document}/content", params={"offset": offset, "limit": limit})["text"]
        )

    def edit(self, document: str, old: str, new: str) -> None:
        self._call("PATCH", f"/documents/{document}/content", json={"old_text": old, "new_text": new})

    def search(self, words: str) -> list[str]:
        found = self._call("GET", "/documents:search", params={"query": words})["results"]
        return [each["document"]["document_id"] for each in found]

    def relate(self, parent: str, child: str) -> None:
        body = {"from_document_id": parent, "to_document_id": child, "type": "parent_child"}
        self._call("POST", "/document-relations", json=body)

    def delete(self, document: str) -> list[str]:
        return sorted(self._call("DELETE", f"/documents/{document}")["deleted_document_ids"])


class OverPorts(Way):
    """The routes of the Agent Runtime and the Context Store."""

    def __init__(self, place: Place, directory: Path) -> None:
        super().__init__(place, directory)
        environment = dict(EXPORT.findall(run_cco(self.sidecar, "compat", "env").stdout))
        self._runtime = environment["AGENT_ORCHESTRATOR_SESSION_API_URL"]
        self._store = f"http://{environment['DOC_SYNC_HOST']}:{environment['DOC_SYNC_PORT']}"
        self._ids: dict[str, str] = {}

    def _call(self, method: str, url: str, **more: Any) -> requests.Response:
        answer = requests.request(method, url, timeout=60, **more)
        raised(not answer.ok, STATUSES.get(answer.status_code, answer.text))
        return answer

    def _job(self, kind: str, name: str, prompt: str) -> str:
        body = {"type": kind, "session_name": name, "prompt": prompt}
        job = self._call("POST", f"{self._runtime}/jobs", json=body).json()["job_id"]
        self._ids[name] = job
        ended = lambda: self._call("GET", f"{self._runtime}/jobs/{job}").json()["status"] in ("completed", "failed")  # noqa: E731
        until(ended, "the end of the job", 60)
        raised(self._call("GET", f"{self._runtime}/jobs/{job}").json()["status"] == "failed", FAILED)
        return str(self._call("GET", f"{self._runtime}/sessions/{job}/result").json()["result"])

    def start(self, name: str, prompt: str) -> str:
        return self._job("start_session", name, prompt)

    def resume(self, name: str, prompt: str) -> str:
        return self._job("resume_session", name, prompt)

    def state(self, name: str) -> str:
        try:
            url = f"{self._runtime}/sessions/{self._ids.get(name, name)}/status"
            return str(self._call("GET", url).json()["status"])
        except Refused:
            return "not_existent"

    def remove(self, name: str) -> None:
        self._call("DELETE", f"{self._runtime}/sessions/{self._ids[name]}")

    def push(self, name: str, text: str, tags: str) -> str:
        files = {"file": (name, text.encode(), "text/markdown")}
        return str(self._call("POST", f"{self._store}/documents", files=files, data={"tags": tags}).json()["id"])

    def query(self, tags: str) -> list[str]:
        return [each["id"] for each in self._call("GET", f"{self._store}/documents", params={"tags": tags}).json()]

    def read(self, document: str, offset: int | None = None, limit: int | None = None) -> str:
        params = {"offset": offset, "limit": limit}
        return self._call("GET", f"{self._store}/documents/{document}", params=params).content.decode()

    def edit(self, document: str, old: str, new: str) -> None:
        body = {"old_string": old, "new_string": new}
        self._call("PATCH", f"{self._store}/documents/{document}/content", json=body)

    def search(self, words: str) -> list[str]:
        found = self._call("GET", f"{self._store}/search", params={"q": words}).json()["results"]
        return [each["document_id"] for each in found]

    def relate(self, parent: str, child: str) -> None:
        body = {"definition": "parent-child", "from_document_id": parent, "to_document_id": child}
        self._call("POST", f"{self._store}/relations", json=body)

    def delete(self, document: str) -> list[str]:
        return sorted(self._call("DELETE", f"{self._store}/documents/{document}").json()["deleted_document_ids"])


def kind_of(text: str) -> str:
    """What a message says, as a model or a person reads it."""
    if "exited with code 3" in text:
        return FAILED
    if "already" in text or "its own ancestor" in text:
        return CONFLICT
    return NOT_FOUND if "not found" in text or "does not exist" in text else INVALID


class OverMcp(Way):
    def _call(self, tool: str, **arguments: Any) -> str:
        async def call() -> Any:
            async with (
                httpx2.AsyncClient(headers=self.sidecar.operator.headers, timeout=60) as http,
                McpClient(streamable_http_client(f"{self.sidecar.url}/mcp", http_client=http)) as client,
            ):
                return await client.call_tool(tool, arguments)

        found = asyncio.run(call())
        text = str(found.content[0].text) if found.content else ""
        raised(bool(found.is_error), kind_of(text))
        return text

    def start(self, name: str, prompt: str) -> str:
        return self._call("start_agent_session", session_name=name, prompt=prompt)

    def resume(self, name: str, prompt: str) -> str:
        return self._call("resume_agent_session", session_name=name, prompt=prompt)

    def state(self, name: str) -> str:
        return str(json.loads(self._call("get_agent_session_status", session_name=name))["status"])

    def remove(self, name: str) -> None:
        # There is a tool only for all of them.
        self.sidecar.request("DELETE", f"/api/sessions/{name}", self.sidecar.operator)

    def push(self, name: str, text: str, tags: str) -> str:
        return str(json.loads(self._call("doc_create", name=name, content=text, tags=tags))["document_id"])

    def query(self, tags: str) -> list[str]:
        return [each["document_id"] for each in json.loads(self._call("doc_query", tags=tags))]

    def read(self, document: str, offset: int | None = None, limit: int | None = None) -> str:
        return self._call("doc_read", document_id=document, offset=offset, limit=limit)

    def edit(self, document: str, old: str, new: str) -> None:
        self._call("doc_edit", document_id=document, old_string=old, new_string=new)

    def search(self, words: str) -> list[str]:
        found = json.loads(self._call("doc_search", query=words))["results"]
        return [each["document"]["document_id"] for each in found]

    def relate(self, parent: str, child: str) -> None:
        self._call("doc_link", from_document_id=parent, to_document_id=child, relation_type="parent-child")

    def delete(self, document: str) -> list[str]:
        return sorted(json.loads(self._call("doc_delete", document_id=document))["deleted_document_ids"])


class OverCommands(Way):
    """The console scripts of the wheel."""

    def _run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        done = ran(self.sidecar, program, *arguments, cwd=self.directory)
        raised(done.returncode != 0, kind_of(done.stderr))
        return done

    def start(self, name: str, prompt: str) -> str:
        return self._run("ao-new", name, "-p", prompt).stdout.removesuffix("\n")

    def resume(self, name: str, prompt: str) -> str:
        return self._run("ao-resume", name, "-p", prompt).stdout.removesuffix("\n")

    def state(self, name: str) -> str:
        return self._run("ao-status", name).stdout.strip()

    def remove(self, name: str) -> None:
        self._run("cco", "sessions", "delete", name)

    def push(self, name: str, text: str, tags: str) -> str:
        (self.directory / name).write_text(text)
        return str(json.loads(self._run("doc-push", name, "--tags", tags).stdout)["id"])

    def query(self, tags: str) -> list[str]:
        return [each["id"] for each in json.loads(self._run("doc-query", "--tags", tags).stdout)]

    def read(self, document: str, offset: int | None = None, limit: int | None = None) -> str:
        part = [f"--{name}={value}" for name, value in (("offset", offset), ("limit", limit)) if value is not None]
        return self._run("doc-read", document, *part).stdout

    def edit(self, document: str, old: str, new: str) -> None:
        self._run("doc-edit", document, "--old-string", old, "--new-string", new)

    def search(self, words: str) -> list[str]:
        return [each["document_id"] for each in json.loads(self._run("doc-search", words).stdout)["results"]]

    def relate(self, parent: str, child: str) -> None:
        self._run("doc-link", "--create", parent, child, "--type", "parent-child")

    def delete(self, document: str) -> list[str]:
        return sorted(json.loads(self._run("doc-delete", document).stdout)["deleted_document_ids"])


class Step(NamedTuple):
    """``does``: a method of a way; ``given``: its arguments, in which ``{name}`` stands for a value that an earlier step
    gave to ``gives``; ``expected``: its outcome, or a name of a refusal. ``...``: any."""

    does: str
    given: tuple[Any, ...]
    expected: Any = None
    gives: str = ""


SCENARIOS: dict[str, list[Step]] = {
    "a session is started, refused, resumed and removed": [
        Step("state", ("{own}",), "not_existent"),
        Step("start", ("{own}", "say:one"), "one"),
        Step("state", ("{own}",), "finished"),
        Step("start", ("{own}", "say:again"), CONFLICT),
        Step("resume", ("{own}", "say:two"), "two"),
        Step("remove", ("{own}",)),
        Step("state", ("{own}",), "not_existent"),
        Step("resume", ("{own}", "say:three"), NOT_FOUND),
    ],
    "a session fails and is resumed": [
        Step("start", ("{own}", "fail:3"), FAILED),
        Step("state", ("{own}",), "finished"),
        Step("resume", ("{own}", "say:better"), "better"),
    ],
    "a session has a name": [
        Step("start", ("no name", "say:x"), INVALID),
        Step("start", ("x" * 61, "say:x"), INVALID),
    ],
    "a document is found, read in parts, edited and deleted": [
        Step("push", ("a.md", "The API uses {own}token.\n", "plan,{own}"), ..., "document"),
        Step("query", ("plan,{own}",), ["{document}"]),
        Step("query", ("other,{own}",), []),
        Step("read", ("{document}", 4, 3), "API"),
        Step("read", ("{document}", 1000, 5), ""),
        Step("edit", ("{document}", "{own}token", "{own}key"), None),
        Step("read", ("{document}",), "The API uses {own}key.\n"),
        Step("edit", ("{document}", "{own}token", "x"), INVALID),
        Step("search", ("{own}key",), ["{document}"]),
        Step("search", ("{own}token",), []),
        Step("delete", ("{document}",), ["{document}"]),
        Step("read", ("{document}",), NOT_FOUND),
        Step("delete", ("{document}",), NOT_FOUND),
    ],
    "children go with their parents": [
        Step("push", ("p.md", "parent", "{own}"), ..., "parent"),
        Step("push", ("c.md", "child", "{own}"), ..., "child"),
        Step("relate", ("{parent}", "{child}")),
        Step("relate", ("{parent}", "{child}"), CONFLICT),
        Step("relate", ("{child}", "{parent}"), CONFLICT),
        Step("relate", ("{parent}", "doc_0"), NOT_FOUND),
        Step("delete", ("{parent}",), ["{child}", "{parent}"]),
        Step("read", ("{child}",), NOT_FOUND),
    ],
}
WAYS = (OverGrpc, OverRest, OverPorts, OverMcp, OverCommands)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    directory = tmp_path_factory.mktemp("scenarios")
    made = Place(directory)
    made.sidecar.stop()
    ports = {"ports": True, "runtime_port": 0, "store_port": 0, "registry_port": 0}
    made.config.write_text(json.dumps(json.loads(made.config.read_text()) | {"compat": ports}))
    made.start()
    yield made
    made.sidecar.stop()


@pytest.mark.parametrize("scenario", list(SCENARIOS))
@pytest.mark.parametrize("way_in", WAYS, ids=lambda way: way.__name__.removeprefix("Over").lower())
def test_every_way_in_does_the_same(place: Place, tmp_path: Path, way_in: type[Way], scenario: str) -> None:
    way = way_in(place, tmp_path)
    known = {"own": fresh("w").replace("-", "")}

    def filled(value: Any) -> Any:
        if isinstance(value, list):
            return sorted(map(filled, value))
        return value.format(**known) if isinstance(value, str) else value

    try:
        for number, step in enumerate(SCENARIOS[scenario]):
            try:
                outcome = getattr(way, step.does)(*map(filled, step.given))
            except Refused as refused:
                outcome = str(refused)
            if step.gives:
                known[step.gives] = outcome
            expected = filled(step.expected)
            shown = sorted(outcome) if isinstance(outcome, list) else outcome
            assert step.expected is ... or shown == expected, (number, step, outcome)
    finally:
        way.close()
