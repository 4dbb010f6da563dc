"""Documents, over REST, gRPC and the SDK: stored, found, read in parts, and changed by several at once."""

from __future__ import annotations

import base64
import concurrent.futures
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from tests.support.sidecars import Deployment, events, fresh, records_file, written

from cco_sidecar.client import Client
from cco_sidecar.client.errors import ConflictError, InvalidRequestError, NotFoundError
from cco_sidecar.testing.process import Agent, SidecarProcess


@pytest.fixture
def agent(sidecar: SidecarProcess) -> Agent:
    return sidecar.agent(project=fresh("documents"))


@pytest.fixture
def client(sidecar: SidecarProcess, agent: Agent) -> Iterator[Client]:
    with Client(sidecar.url, token=agent.token) as made:
        yield made


def created(sidecar: SidecarProcess, agent: Agent, **body: Any) -> dict[str, Any]:
    answer = sidecar.request("POST", "/api/documents", agent, json={"filename": "spec.md", "text": "text"} | body)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def refusal(answer: requests.Response) -> tuple[int, str, str]:
    body = answer.json()
    return answer.status_code, body["code"], body.get("details", {}).get("field", "")


def test_a_document_is_stored_found_and_deleted(sidecar: SidecarProcess, agent: Agent) -> None:
    made = created(sidecar, agent, text="Żółw 🐢\n", tags=["api", "v2", "api"], metadata={"description": "d"})
    assert made["document_id"].startswith("doc_") and len(made["document_id"]) == 28
    assert (made["content_type"], made["size_bytes"], made["total_chars"]) == ("text/markdown", 13, 7)
    assert (made["tags"], made["revision"], made["created_by"]) == (["api", "v2"], 1, agent.id)
    path = f"/api/documents/{made['document_id']}"
    assert sidecar.request("GET", path, agent).json() == made
    listed = sidecar.request("GET", "/api/documents?name=SPEC&tags=v2,api", agent).json()
    assert listed == {"documents": [made], "next_cursor": None}
    content = sidecar.request("GET", f"{path}/content", agent).json()
    assert content["text"] == "Żółw 🐢\n" and "start" not in content
    assert sidecar.request("DELETE", path, agent).status_code == 200
    assert refusal(sidecar.request("GET", path, agent)) == (404, "DOC_001", "")
    kinds = [event["event_type"] for event in events(sidecar, agent.project)]
    assert kinds == ["document_created", "document_deleted"]


@pytest.mark.parametrize(
    ("query", "text", "start", "end"),
    [
        ("offset=2&limit=3", "cde", 2, 5),
        ("limit=2", "ab", 0, 2),
        ("offset=5", "f🐢", 5, 7),
        ("offset=5&limit=100", "f🐢", 5, 7),
        ("offset=7", "", 7, 7),
        ("offset=100&limit=1", "", 7, 7),
        ("offset=1&limit=0", "", 1, 1),
    ],
)
def test_a_part_is_read_by_characters(
    sidecar: SidecarProcess, agent: Agent, query: str, text: str, start: int, end: int
) -> None:
    made = created(sidecar, agent, text="abcdef🐢")
    found = sidecar.request("GET", f"/api/documents/{made['document_id']}/content?{query}", agent).json()
    assert (found.get("text", ""), found["start"], found["end"], found["total_chars"]) == (text, start, end, 7)


def test_bytes_come_back_as_they_were(sidecar: SidecarProcess, agent: Agent) -> None:
    data = bytes(range(256))
    made = created(sidecar, agent, filename="a.bin", text=None, data=base64.b64encode(data).decode())
    assert (made["content_type"], made["size_bytes"]) == ("application/octet-stream", 256) and "total_chars" not in made
    path = f"/api/documents/{made['document_id']}/content"
    assert base64.b64decode(sidecar.request("GET", path, agent).json()["data"]) == data
    assert refusal(sidecar.request("GET", f"{path}?offset=1", agent)) == (400, "REQ_001", "offset")
    edit = sidecar.request("PATCH", path, agent, json={"offset": 0, "new_text": "x"})
    assert refusal(edit) == (400, "REQ_001", "document_id")


def test_bytes_that_are_a_text_are_one(client: Client) -> None:
    assert client.documents.create("a.md", "ż".encode()).total_chars == 1
    assert not client.documents.create("a.md", b"\xff").HasField("total_chars")
    assert not client.documents.create("a.png", b"abc").HasField("total_chars")


def test_a_change_names_the_revision_that_it_is_based_on(sidecar: SidecarProcess, agent: Agent) -> None:
    made = created(sidecar, agent)
    path = f"/api/documents/{made['document_id']}/content"
    for tag, status in (('"1"', 200), ('"1"', 409), ("2", 200), ('W/"3"', 200), ('"x"', 400), ("*", 200)):
        answer = sidecar.request("PUT", path, agent, json={"text": f"after {tag}"}, headers={"If-Match": tag})
        assert answer.status_code == status, answer.text
        if status == 409:
            assert answer.json()["code"] == "DOC_002" and answer.json()["details"]["revision"] == 2
    twice = sidecar.request(
        "PATCH", path, agent, json={"offset": 0, "new_text": "x", "expected_revision": 3}, headers={"If-Match": "4"}
    )
    assert refusal(twice) == (400, "REQ_001", "expected_revision")


def test_two_who_change_the_same_revision_do_not_overwrite_each_other(client: Client) -> None:
    made = client.documents.create("plan.md", "one\n")
    client.documents.edit(made.document_id, "one\ntwo\n", old_text="one\n", expected_revision=1)
    with pytest.raises(ConflictError, match="has revision 2, not 1"):
        client.documents.write(made.document_id, "mine", expected_revision=1)
    assert client.documents.read(made.document_id).text == "one\ntwo\n"
    assert client.documents.read(made.document_id, revision=1).text == "one\n"
    assert [each.revision for each in client.documents.revisions(made.document_id)] == [2, 1]
    with pytest.raises(NotFoundError, match="no revision 3 any more; the current one is 2"):
        client.documents.read(made.document_id, revision=3)


@pytest.mark.parametrize(
    ("edit", "text", "count"),
    [
        ({"old_text": "b", "new_text": "B"}, "aBcc", 1),
        ({"old_text": "c", "new_text": "", "replace_all": True}, "ab", 2),
        ({"offset": 1, "length": 2, "new_text": "-"}, "a-c", None),
        ({"offset": 4, "new_text": "d"}, "abccd", None),
        ({"offset": 0, "new_text": "ż"}, "żabcc", None),
    ],
)
def test_a_part_is_changed(client: Client, edit: dict[str, Any], text: str, count: int | None) -> None:
    made = client.documents.create("a.md", "abcc")
    answer = client.documents.edit(made.document_id, edit.pop("new_text"), **edit)
    assert client.documents.read(made.document_id).text == text
    assert (answer.replacements_made if answer.HasField("replacements_made") else None) == count
    assert (answer.document.total_chars, answer.document.revision) == (len(text), 2)


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        ({}, "either old_text or offset"),
        ({"old_text": "a", "offset": 0}, "either old_text or offset"),
        ({"old_text": "x"}, "it is not in the document"),
        ({"old_text": "c"}, "it occurs 2 times in the document"),
        ({"old_text": ""}, "it is empty"),
        ({"old_text": "a", "length": 1}, "it belongs to offset"),
        ({"offset": 3, "length": 2}, "the text has 4 characters"),
        ({"offset": 5}, "the text has 4 characters"),
        ({"offset": 0, "replace_all": True}, "it belongs to old_text"),
    ],
)
def test_a_change_that_is_not_clear_changes_nothing(client: Client, edit: dict[str, Any], says: str) -> None:
    made = client.documents.create("a.md", "abcc")
    with pytest.raises(InvalidRequestError, match=says):
        client.documents.edit(made.document_id, "x", **edit)
    assert client.documents.get(made.document_id) == made


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"filename": ""}, "filename"),
        ({"filename": ".."}, "filename"),
        ({"filename": "a/b.md"}, "filename"),
        ({"filename": "a\nb"}, "filename"),
        ({"filename": "x" * 256}, "filename"),
        ({"content_type": "markdown"}, "content_type"),
        ({"tags": ["a,b"]}, "tags"),
        ({"tags": [" a"]}, "tags"),
        ({"tags": ["x" * 65]}, "tags"),
        ({"tags": [f"t{n}" for n in range(51)]}, "tags"),
        ({"metadata": {"": "x"}}, "metadata"),
        ({"metadata": {"k": "x" * 4097}}, "metadata"),
        ({"data": "no base64!", "text": None}, "data"),
        ({"data": "eA==", "text": "x"}, ""),
    ],
)
def test_what_cannot_be_a_document_is_named(
    sidecar: SidecarProcess, agent: Agent, body: dict[str, Any], field: str
) -> None:
    answer = sidecar.request("POST", "/api/documents", agent, json={"filename": "a.md", "text": ""} | body)
    assert answer.status_code == 400 and (not field or answer.json()["details"]["field"] == field), answer.text
    assert sidecar.request("GET", "/api/documents", agent).json()["documents"] == []


def test_what_is_known_about_it_is_changed(client: Client) -> None:
    made = client.documents.create("a.md", "text", tags=["a"], metadata={"x": "1", "y": "2"})
    changed = client.documents.update(made.document_id, filename="b.md", tags=["b"], metadata={"x": "", "z": "3"})
    assert (changed.filename, list(changed.tags), dict(changed.metadata)) == ("b.md", ["b"], {"y": "2", "z": "3"})
    assert changed.revision == 1
    assert list(client.documents.update(made.document_id).tags) == ["b"]
    assert list(client.documents.update(made.document_id, tags=[]).tags) == []


def test_words_are_found_with_their_places(client: Client) -> None:
    filler = "nothing of interest here\n" * 200
    made = client.documents.create("long.md", f"{filler}the deployment uses blue-green\n{filler}", tags=["ops"])
    client.documents.create("other.md", "deployment")
    best, *_ = client.documents.search('"blue green" deploy*')
    assert best.document == made and best.score == 1
    (section, *_) = best.sections
    assert "blue-green" in section.text and section.score == 1
    part = client.documents.read(made.document_id, offset=section.offset, limit=section.limit)
    assert part.text == section.text
    assert {each.document.filename for each in client.documents.search("deployment")} == {"long.md", "other.md"}
    assert [each.document.filename for each in client.documents.search("deployment", tags=["ops"])] == ["long.md"]
    assert client.documents.search("deployment kubernetes") == []
    with pytest.raises(InvalidRequestError, match="it has no words"):
        client.documents.search('"" *')


@pytest.mark.parametrize("query", ["foo OR bar", "NEAR(a b)", "a AND", "col:a", "a'b", "a & !b", "(", "-a", "a:*"])
def test_what_an_index_would_take_for_an_operator_is_words(client: Client, query: str) -> None:
    client.documents.create("a.md", f"before {query} after")
    assert len(client.documents.search("before")) == 1
    if any(sign.isalnum() for sign in query):
        assert len(client.documents.search(query)) == 1


def test_a_project_has_a_quota(deployment: Deployment, tmp_path: Any) -> None:
    sidecar = deployment.start(config=written(tmp_path / "config.json", documents={"quota_mb": 1}))
    agent = sidecar.agent()
    made = created(sidecar, agent, text="x" * 600_000)
    answer = sidecar.request("POST", "/api/documents", agent, json={"filename": "a.md", "text": "x" * 600_000})
    assert (answer.status_code, answer.json()["code"]) == (429, "STR_003")
    path = f"/api/documents/{made['document_id']}"
    # Revisions count.
    answer = sidecar.request("PUT", f"{path}/content", agent, json={"text": "x" * 600_000})
    assert (answer.status_code, answer.json()["code"]) == (429, "STR_003")
    # An edit of one character is a revision too.
    answer = sidecar.request("PATCH", f"{path}/content", agent, json={"offset": 0, "new_text": "y"})
    assert (answer.status_code, answer.json()["code"]) == (429, "STR_003")
    assert sidecar.request("DELETE", path, agent).status_code == 200
    created(sidecar, agent, text="x" * 600_000)


def test_a_document_outlives_a_restart(deployment: Deployment) -> None:
    sidecar = deployment.start()
    made = created(sidecar, sidecar.operator, text="kept over a restart")
    deployment.stop()
    sidecar = deployment.start()
    found = sidecar.request("GET", "/api/documents:search?query=kept", sidecar.operator).json()["results"]
    assert [each["document"] for each in found] == [made]


def test_documents_are_related_and_children_go_with_their_parents(sidecar: SidecarProcess, agent: Agent) -> None:
    first, second, third = [created(sidecar, agent)["document_id"] for _ in range(3)]
    at = "/api/document-relations"
    body = {
        "from_document_id": first,
        "to_document_id": second,
        "type": "parent_child",
        "from_note": "the details",
        "to_note": "the plan",
    }
    made = sidecar.request("POST", at, agent, json=body)
    assert made.status_code == 201, made.text
    assert made.json() | body | {"created_by": agent.id} == made.json()
    for document in (first, second):
        listed = sidecar.request("GET", f"/api/documents/{document}/relations", agent).json()["relations"]
        assert listed == [made.json()]
    assert refusal(sidecar.request("POST", at, agent, json=body)) == (409, "DOC_003", "")
    itself = {"from_document_id": first, "to_document_id": first, "type": "related"}
    assert refusal(sidecar.request("POST", at, agent, json=itself)) == (400, "REQ_001", "to_document_id")
    unknown = {"from_document_id": first, "to_document_id": "doc_0", "type": "related"}
    assert refusal(sidecar.request("POST", at, agent, json=unknown)) == (404, "DOC_001", "")
    relation = f"/api/document-relations/{made.json()['relation_id']}"
    assert sidecar.request("PATCH", relation, agent, json={"to_note": "new"}).json()["to_note"] == "new"
    other = sidecar.agent(project=fresh("documents"))
    assert refusal(sidecar.request("DELETE", relation, other)) == (404, "DOC_001", "")
    related = sidecar.request(
        "POST", at, agent, json={"from_document_id": first, "to_document_id": third, "type": "related"}
    ).json()
    gone = sidecar.request("DELETE", f"/api/documents/{first}", agent).json()
    assert gone == {"document_id": first, "deleted_document_ids": [first, second]}
    assert sidecar.request("GET", f"/api/documents/{third}/relations", agent).json() == {"relations": []}
    assert (
        refusal(sidecar.request("DELETE", f"/api/document-relations/{related['relation_id']}", agent))[1] == "DOC_001"
    )
    kinds = [event["event_type"] for event in events(sidecar, agent.project)]
    assert kinds.count("document_deleted") == 2 and kinds.count("document_relation_created") == 2


def test_only_who_may_delete_a_document_makes_it_a_child(sidecar: SidecarProcess, agent: Agent) -> None:
    """A child is deleted with its parent, by whoever may delete that."""
    other = sidecar.agent(project=agent.project)
    theirs, mine = created(sidecar, other)["document_id"], created(sidecar, agent)["document_id"]
    body = {"from_document_id": mine, "to_document_id": theirs, "type": "parent_child"}
    assert refusal(sidecar.request("POST", "/api/document-relations", agent, json=body))[:2] == (403, "AUTH_003")
    assert sidecar.request("POST", "/api/document-relations", agent, json=body | {"type": "related"}).status_code == 201
    # To add one's own to theirs does not keep them from deleting it.
    body = {"from_document_id": theirs, "to_document_id": mine, "type": "parent_child"}
    assert sidecar.request("POST", "/api/document-relations", agent, json=body).status_code == 201
    assert refusal(sidecar.request("DELETE", f"/api/documents/{theirs}", agent))[:2] == (403, "AUTH_003")
    gone = sidecar.request("DELETE", f"/api/documents/{theirs}", other).json()
    assert gone["deleted_document_ids"] == [theirs, mine]


def test_an_edit_may_not_grow_beyond_the_limit(sidecar: SidecarProcess, agent: Agent) -> None:
    """The request is small; what it asks for would have gigabytes."""
    made = created(sidecar, agent, text="a" * 100_000)
    path = f"/api/documents/{made['document_id']}/content"
    body = {"old_text": "a", "new_text": "é" * 100_000, "replace_all": True}
    answer = sidecar.request("PATCH", path, agent, json=body)
    assert (answer.status_code, answer.json()["code"]) == (413, "REQ_004")
    assert "20000000000 bytes" in answer.json()["message"]


def test_metadata_stays_within_its_limit(sidecar: SidecarProcess, agent: Agent) -> None:
    made = created(sidecar, agent, metadata={f"a{n}": "x" for n in range(50)})
    path = f"/api/documents/{made['document_id']}"
    body = {"metadata": {"b": "x"}}
    assert refusal(sidecar.request("PATCH", path, agent, json=body)) == (400, "REQ_001", "metadata")
    assert sidecar.request("PATCH", path, agent, json={"metadata": {"a0": "", "b": "x"}}).status_code == 200
    assert len(sidecar.request("GET", path, agent).json()["metadata"]) == 50


def test_a_text_with_other_line_ends_is_named(sidecar: SidecarProcess, agent: Agent) -> None:
    made = created(sidecar, agent, text="one\r\ntwo\r\n")
    path = f"/api/documents/{made['document_id']}/content"
    answer = sidecar.request("PATCH", path, agent, json={"old_text": "one\ntwo", "new_text": "x"})
    assert refusal(answer) == (400, "REQ_001", "old_text") and "CR LF" in answer.json()["message"]


def test_the_sdk_relates_documents(client: Client) -> None:
    first, second = [client.documents.create(f"{n}.md").document_id for n in range(2)]
    made = client.documents.relate(first, second, "predecessor_successor", from_note="then")
    assert list(client.documents.relations(second)) == [made]
    assert client.documents.update_relation(made.relation_id, to_note="before").from_note == "then"
    client.documents.unrelate(made.relation_id)
    assert not client.documents.relations(first)
    with pytest.raises(InvalidRequestError, match="type"):
        client.documents.relate(first, second, "enemy")


class TestContexts:
    """Documents that a task names are in the context, with a line in the manifest."""

    def _context(self, sidecar: SidecarProcess, agent: Agent, task: str, **more: Any) -> dict[str, Any]:
        path = f"/api/context/{agent.issue}/{agent.type}"
        answer = sidecar.request("GET", path, agent, params={"task": task} | more)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def _texts(self, context: dict[str, Any]) -> dict[str, str]:
        files = context["context"]["relevant_files"]
        return {each["path"]: each["content"] for each in files if each["path"].startswith("document:")}

    def _entries(self, context: dict[str, Any]) -> dict[str, tuple[str, str]]:
        return {
            each["path"]: (each["disposition"], each["reason"])
            for each in context["manifest"]["entries"]
            if each["path"].startswith("document:")
        }

    @pytest.mark.parametrize("budget", [{}, {"max_bytes": 20_000}])
    @pytest.mark.parametrize("named", ["Build the plan.md", "Build `the plan.md` now", "Build {id} as it is"])
    def test_a_named_document_is_there(
        self, sidecar: SidecarProcess, agent: Agent, named: str, budget: dict[str, int]
    ) -> None:
        name = "the plan.md" if "`" in named else "plan.md"
        created(sidecar, agent, filename="other.md", text="not asked for\n")
        made = created(sidecar, agent, filename=name, text="use two queues\n")
        path = f"document:{made['document_id']}/{name}"
        context = self._context(sidecar, agent, named.format(id=made["document_id"]), **budget)
        assert self._texts(context) == {path: "use two queues\n"}
        assert self._entries(context) == {path: ("included", "named_by_task")}
        without = self._context(sidecar, agent, "Build something", **budget)
        assert self._texts(without) == {}
        structure = context["context"]["project_structure"]
        assert structure["total_files"] == without["context"]["project_structure"]["total_files"]
        assert path not in structure["files"]

    def test_a_context_is_as_new_as_the_document(self, sidecar: SidecarProcess, agent: Agent) -> None:
        task = "Build the plan.md"
        made = created(sidecar, agent, filename="plan.md", text="one\n")
        path = f"document:{made['document_id']}/plan.md"
        assert self._texts(self._context(sidecar, agent, task)) == {path: "one\n"}
        again = self._context(sidecar, agent, task)
        assert again["cache_hit"] is True
        url = f"/api/documents/{made['document_id']}"
        body = {"old_text": "one", "new_text": "two"}
        assert sidecar.request("PATCH", f"{url}/content", agent, json=body).status_code == 200
        assert self._texts(self._context(sidecar, agent, task)) == {path: "two\n"}
        newer = created(sidecar, agent, filename="plan.md", text="three\n")
        assert self._texts(self._context(sidecar, agent, task)) == {
            f"document:{newer['document_id']}/plan.md": "three\n"
        }
        for each in (made, newer):
            assert sidecar.request("DELETE", f"/api/documents/{each['document_id']}", agent).status_code == 200
        assert self._texts(self._context(sidecar, agent, task)) == {}

    def test_of_a_long_document_the_parts_that_matter(self, sidecar: SidecarProcess, agent: Agent) -> None:
        chapters = [f"# Chapter {n}\n\n" + f"words of chapter {n}\n" * 60 for n in range(40)]
        chapters[23] = "# Retries\n\n" + "an upload is retried with backoff\n" * 8
        made = created(sidecar, agent, filename="long.md", text="\n".join(chapters))
        context = self._context(sidecar, agent, "Retry the upload with backoff, see long.md", max_bytes=12_000)
        ((path, text),) = self._texts(context).items()
        assert "an upload is retried with backoff" in text
        assert self._entries(context) == {path: ("cut", "named_by_task")}
        assert made["document_id"] in path

    def test_what_cannot_be_shown_is_named(self, sidecar: SidecarProcess, agent: Agent) -> None:
        secret = "ghp_" + "Zq3xW7eR5tY9uI1oP2aS4dF6gH8jK0lM" + "abcd"
        masked = created(sidecar, agent, filename="notes.md", text=f"token = {secret}\n")
        binary = created(
            sidecar, agent, filename="logo.png", data=base64.b64encode(b"\x89PNG\0\xff").decode(), text=None
        )
        keys = created(sidecar, agent, filename="prod.env", text="A=b\n")
        context = self._context(sidecar, agent, "See notes.md, logo.png and prod.env")
        assert list(self._texts(context).values()) == ["token = [masked]\n"]
        entries = self._entries(context)
        assert entries[f"document:{binary['document_id']}/logo.png"] == ("left_out", "binary")
        assert entries[f"document:{keys['document_id']}/prod.env"][0] == "left_out"
        assert secret not in str(context) and masked["document_id"] in str(entries)

    def test_a_path_names_a_file_and_no_document(self, sidecar: SidecarProcess, agent: Agent) -> None:
        created(sidecar, agent, filename="app.py", text="print('not the file')\n")
        assert self._texts(self._context(sidecar, agent, "Fix uploads in src/app.py")) == {}
        assert len(self._texts(self._context(sidecar, agent, "Fix uploads, see app.py."))) == 1

    def test_another_projects_document_is_not_there(self, sidecar: SidecarProcess, agent: Agent) -> None:
        made = created(sidecar, agent, filename="plan.md", text="one\n")
        stranger = sidecar.agent(project=fresh("elsewhere"))
        context = self._context(sidecar, stranger, f"Build plan.md, {made['document_id']}")
        assert self._texts(context) == {} == self._entries(context)

    def test_a_documents_path_is_no_file(self, sidecar: SidecarProcess, agent: Agent) -> None:
        path = f"/api/context/{agent.issue}/{agent.type}/files?path=document:doc_0/plan.md"
        answer = sidecar.request("GET", path, agent)
        assert refusal(answer) == (404, "CTX_003", "") and "ReadDocument" in answer.json()["message"]


def test_a_search_that_takes_long_holds_nobody_up(sidecar: SidecarProcess, agent: Agent) -> None:
    """It is searched on a connection of its own, and finds what was stored before."""
    records_file(sidecar.storage)  # PostgreSQL answers at once
    text = "a " * 2_000_000
    created(sidecar, agent, text=text)
    query = '"' + "a " * 60 + 'b"'
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        searching = pool.submit(sidecar.request, "GET", "/api/documents:search", agent, params={"query": query})
        served = 0
        while not searching.done():
            assert created(sidecar, agent, text="short")["document_id"]
            served += 1
        assert searching.result().json()["results"] == []
    # Dozens; in turn with the search it would be one.
    assert served > 2
    assert len(sidecar.request("GET", "/api/documents:search?query=short", agent).json()["results"]) > 2
