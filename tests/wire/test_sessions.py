"""Sessions: started, followed, resumed, stopped; parents and their callbacks; crashes and races."""

from __future__ import annotations

import asyncio
import concurrent.futures
import json
import sqlite3
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from tests.support.sidecars import call, events, fresh, records_file, until

from cco_sidecar.services.sessions.translation import MAX_TEXT
from cco_sidecar.storage.sessions import SessionChange
from cco_sidecar.storage.sql.database import Database
from cco_sidecar.storage.sql.sqlite import Sqlite
from cco_sidecar.storage.sql.stores import SqlStores
from cco_sidecar.testing.process import SidecarProcess
from orchestra.v1.session_service_pb2 import SESSION_STATUS_PENDING, Session

# A program like `claude -p --output-format stream-json`: it does what its prompt says, a word at a time.
PROGRAM = r"""
import json, os, pathlib, sys, time, urllib.request
prompt = sys.stdin.read()
session = sys.argv[1]
def say(**line): print(json.dumps(line), flush=True)
def text(said): say(type="assistant", session_id=session, message={"content": [{"type": "text", "text": said}]})
def call(path, body):
    request = urllib.request.Request(os.environ["SIDECAR_URL"] + path, json.dumps(body).encode(), method="POST",
        headers={"Authorization": "Bearer " + os.environ["JWT_TOKEN"], "Content-Type": "application/json"})
    return json.load(urllib.request.urlopen(request))
say(type="system", subtype="init", session_id=session)
words = prompt.split("\n")[0].split()
if prompt.startswith("A session that") or prompt.startswith("The sessions that"):
    words = ["say:told"]
    pathlib.Path(os.environ["NOTES"], os.environ["AGENT_ID"]).open("a").write(prompt + "\n=====\n")
answer = "done"
for word in words:
    do, _, what = word.partition(":")
    if do == "say": text(what); answer = what
    if do == "tool":
        say(type="assistant", message={"content": [{"type": "tool_use", "id": what, "name": "Read", "input": {"path": what}}]})
        say(type="user", message={"content": [{"type": "tool_result", "tool_use_id": what, "content": "of " + what}]})
    if do == "until":
        while not pathlib.Path(os.environ["NOTES"], what).exists(): time.sleep(0.01)
    if do == "child":
        name, _, task = what.partition("=")
        call("/sessions", {"name": name, "prompt": task.replace("+", " "), "mode": "callback"})
    if do == "fail": sys.exit(3)
    if do == "mute": sys.exit(0)
    if do == "long": text("x" * int(what)); answer = "x" * int(what)
    if do == "parts":
        for n in range(int(what)): say(type="message", role="assistant", content="x" * 30_000)
    if do == "tools":
        for n in range(int(what)):
            say(type="assistant", message={"content": [{"type": "tool_use", "id": str(n), "name": "Read", "input": {"t": "x" * 30_000}}]})
say(type="result", subtype="success", session_id=session, result=answer, num_turns=1, total_cost_usd=0.5,
    usage={"input_tokens": 7, "output_tokens": 2})
"""


class Place:
    """A sidecar whose agents run the program, and the consecutive ones on its storage."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.notes = directory / "notes"
        self.notes.mkdir()
        (directory / "root").mkdir()
        program = directory / "program.py"
        program.write_text(PROGRAM)
        runner = {
            "command": [sys.executable, str(program), "{session_id}"],
            "resume": [sys.executable, str(program), "{session_id}"],
            "stdin": "prompt",
            "output": "stream-json",
            "environment": {"NOTES": str(self.notes)},
        }
        self.config = directory / "config.json"
        self.config.write_text(
            json.dumps({"agents": {"runners": {"default": runner}}, "sessions": {"silence_seconds": 3600}})
        )
        self.start()

    def start(self) -> None:
        self.sidecar = SidecarProcess(self.directory / "storage", self.directory / "root", config=self.config)

    def again(self) -> None:
        """Kills the sidecar, and starts another on its storage."""
        self.sidecar.kill()
        self.start()

    def note(self, name: str) -> None:
        (self.notes / name).touch()

    def call(self, method: str, path: str, **more: Any) -> Any:
        return call(self.sidecar, method, f"/api/sessions{path}", **more)

    def refused(self, method: str, path: str, **more: Any) -> tuple[int, str]:
        answer = self.sidecar.request(method, f"/api/sessions{path}", self.sidecar.operator, **more)
        return answer.status_code, answer.json()["code"]

    def create(self, prompt: str = "say:hello", **more: Any) -> Any:
        return self.call("POST", "", json={"name": fresh("s"), "prompt": prompt} | more)

    def result(self, session: Any) -> Any:
        return self.call("GET", f"/{session['session_id']}/result?timeout=30000")

    def events(self, session: Any) -> list[Any]:
        found: list[Any] = self.call("GET", f"/{session['session_id']}/events?limit=1000")["events"]
        return found

    def shapes(self, session: Any) -> list[str]:
        """The events of a session in short."""
        return [shape(event) for event in self.events(session)]


def shape(event: Any) -> str:
    kind = event["event_type"]
    if kind == "message":
        return f"{event['role']}: {''.join(part['text'] for part in event['content'])}"
    if kind in ("pre_tool", "post_tool"):
        return f"{kind} {event['tool_name']} {event['tool_input']['path']} {event.get('tool_output', '')}".rstrip()
    return f"{kind} {event.get('exit_code', '')}".rstrip()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    made = Place(tmp_path_factory.mktemp("sessions"))
    yield made
    made.sidecar.stop()


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Place]:
    """A place whose sidecar may be killed."""
    made = Place(tmp_path)
    yield made
    made.sidecar.stop()


def test_a_session_is_started_followed_and_resumed(place: Place) -> None:
    made = place.create("say:one tool:a.py say:two", metadata={"ticket": "T-1"})
    assert made["session_id"].startswith("ses_") and len(made["session_id"]) == 16
    assert made["status"] in ("pending", "running") and made["agent_id"] and made["mode"] == "poll"
    answered = place.result(made)
    assert (answered["status"], answered["text"]) == ("finished", "two")
    found = place.call("GET", f"/{made['name']}")
    assert found["session_id"] == made["session_id"] and found["metadata"] == {"ticket": "T-1"}
    assert (found["status"], found["exit_code"], found["usage"]["cost_usd"]) == ("finished", 0, 0.5)
    first = [
        "session_start",
        "user: say:one tool:a.py say:two",
        "assistant: one",
        "pre_tool Read a.py",
        "post_tool Read a.py of a.py",
        "assistant: two",
        "session_stop 0",
    ]
    assert place.shapes(made) == first
    place.call("POST", f"/{made['session_id']}/resume", json={"prompt": "say:three"})
    assert place.result(made)["text"] == "three"
    assert place.shapes(made) == [*first, "session_start", "user: say:three", "assistant: three", "session_stop 0"]
    found = place.call("GET", f"/{made['name']}")
    assert found["event_count"] == 11 and found["last_resumed_at"] > found["created_at"]
    assert found["usage"]["cost_usd"] == 1.0


def test_events_are_read_in_pages_and_announced_without_their_content(place: Place) -> None:
    project = fresh("p")
    made = place.create("say:secret-word", project_id=project)
    place.call("GET", f"/{made['session_id']}/result?timeout=30000&project_id={project}")
    path, seen, after = f"/{made['session_id']}/events?project_id={project}&limit=3", [], 0
    while True:
        page = place.call("GET", f"{path}&after={after}")
        seen += [event["sequence"] for event in page["events"]]
        after = page["last"]
        if not page["more_available"]:
            break
    assert seen == [1, 2, 3, 4]
    announced = [each for each in events(place.sidecar, project) if each["topic"] == "sessions"]
    kinds = [each["event_type"] for each in announced if not each["event_type"].startswith("session_u")]
    assert kinds == ["session_created", "session_start", "message", "message", "session_stop"]
    assert "secret-word" not in json.dumps(announced)


def test_a_failed_and_a_stopped_session_are_not_left_running(place: Place) -> None:
    failed = place.create("say:half fail:3")
    assert place.result(failed)["status"] == "failed"
    assert place.shapes(failed)[-1] == "session_stop 3"
    assert place.result(failed)["text"] == "half"
    stopped = place.create("say:half until:never")
    until(lambda: "assistant: half" in place.shapes(stopped), "its message", 20)
    assert place.refused("POST", f"/{stopped['name']}/resume", json={"prompt": "x"}) == (409, "SES_003")
    assert place.refused("DELETE", f"/{stopped['name']}") == (409, "SES_003")
    assert place.call("POST", f"/{stopped['name']}/stop", json={})["status"] == "stopped"
    assert place.call("POST", f"/{stopped['name']}/stop", json={})["status"] == "stopped"
    assert place.shapes(stopped)[-1].startswith("session_stop")
    place.call("POST", f"/{stopped['name']}/resume", json={"prompt": "say:more"})
    assert place.result(stopped)["text"] == "more"


def test_a_call_may_wait_for_the_end(place: Place) -> None:
    made = place.create("say:now", mode="sync")
    assert (made["status"], made["event_count"]) == ("finished", 4)
    resumed = place.call("POST", f"/{made['name']}/resume", json={"prompt": "fail:3", "mode": "sync"})
    assert resumed["status"] == "failed"
    waiting = place.create("until:never")
    assert place.call("GET", f"/{waiting['name']}/result?timeout=50")["status"] == "running"
    assert place.call("DELETE", f"/{waiting['name']}?force=true")["session_id"] == waiting["session_id"]


def test_of_two_sessions_of_one_name_one_wins(place: Place) -> None:
    name = fresh("race")

    def create(number: int) -> requests.Response:
        body = {"name": name, "prompt": f"say:{number}"}
        return place.sidecar.request("POST", "/api/sessions", place.sidecar.operator, json=body)

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(create, range(8)))
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 7
    assert {answer.json()["code"] for answer in answers if answer.status_code == 409} == {"SES_002"}
    place.result({"session_id": name})
    # The name is free once more when the session is deleted, and it is of one project only.
    place.call("DELETE", f"/{name}")
    assert place.create(name=name)["name"] == name
    assert place.create(name=name, project_id=fresh("other"))["name"] == name


def test_a_session_is_renamed_and_deleted(place: Place) -> None:
    first, second = place.create(mode="sync"), place.create(mode="sync")
    taken = {"name": second["name"]}
    assert place.refused("PATCH", f"/{first['session_id']}", json=taken) == (409, "SES_002")
    changed = place.call("PATCH", f"/{first['name']}", json={"name": fresh("new"), "metadata": {"a": "b"}})
    assert changed["metadata"] == {"a": "b"}
    assert place.refused("GET", f"/{first['name']}") == (404, "SES_001")
    assert place.call("PATCH", f"/{changed['name']}", json={"metadata": {"a": ""}})["metadata"] == {}
    deleted = place.call("DELETE", f"/{changed['name']}")
    assert deleted == {"session_id": first["session_id"], "events_deleted": 4}
    assert place.refused("GET", f"/{first['session_id']}/events") == (404, "SES_001")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "a b"}, "name"),
        ({"name": "x" * 61}, "name"),
        ({"prompt": ""}, "prompt"),
        ({"mode": "callback"}, "mode"),
        ({"session_id": "mine"}, "session_id"),
        ({"external": True}, "prompt"),
    ],
)
def test_what_is_wrong_is_named(place: Place, body: dict[str, Any], field: str) -> None:
    body = {"name": fresh("s"), "prompt": "say:x"} | body
    answer = place.sidecar.request("POST", "/api/sessions", place.sidecar.operator, json=body)
    assert (answer.status_code, answer.json()["details"]["field"]) == (400, field), answer.text
    assert place.refused("GET", f"/{body['name']}") == (404, "SES_001")


def test_a_session_that_cannot_be_started_leaves_nothing(place: Place) -> None:
    name = fresh("s")
    body = {"name": name, "prompt": "say:x", "blueprint": "no-such-type"}
    assert place.refused("POST", "", json=body) == (404, "AGT_002")
    assert place.refused("GET", f"/{name}") == (404, "SES_001")


def test_parameters_and_results_match_the_schemas_of_the_blueprint(place: Place) -> None:
    blueprint = {
        "name": fresh("bp"),
        "description": "d",
        "parameters_schema": {"type": "object", "required": ["q"], "properties": {"q": {"type": "string"}}},
        "output_schema": {"type": "object", "required": ["answer"]},
    }
    call(place.sidecar, "POST", "/api/blueprints", json=blueprint)
    body = {"name": fresh("s"), "prompt": "say:x", "blueprint": blueprint["name"], "parameters": {"q": 5}}
    answer = place.sidecar.request("POST", "/api/sessions", place.sidecar.operator, json=body)
    assert (answer.status_code, answer.json()["details"]["field"]) == (400, "parameters.q")
    more = {"blueprint": blueprint["name"], "parameters": {"q": "why"}, "mode": "sync"}
    good = place.create('say:{"answer":42}', **more)
    assert place.result(good)["data"] == {"answer": 42} and not place.result(good)["problem"]
    assert '"q": "why"' in place.shapes(good)[1]
    bad = place.result(place.create("say:{}", **more))
    assert bad["problem"] == f"result.answer is required (output_schema of '{blueprint['name']}')"
    assert place.result(place.create("say:prose", **more))["problem"].startswith("the result is not JSON")


# -- parents -----------------------------------------------------------------------------------------------


def told(place: Place, parent: Any) -> list[str]:
    """What the parent was resumed with."""
    path = place.notes / parent["agent_id"]
    return path.read_text().split("\n=====\n")[:-1] if path.exists() else []


def test_a_parent_is_resumed_with_the_result_of_its_child(place: Place) -> None:
    child = fresh("child")
    parent = place.create(f"child:{child}=say:found-it say:started", blueprint="chief-architect")
    until(lambda: told(place, parent), "the callback", 30)
    (text,) = told(place, parent)
    assert f'<agent-callback session="{child}" status="finished">\nfound-it\n</agent-callback>' in text
    until(lambda: place.call("GET", f"/{parent['name']}")["status"] == "finished", "its end", 30)
    found = place.call("GET", f"/{child}")
    assert (found["parent_session_id"], found["mode"]) == (parent["session_id"], "callback")
    assert found["issue_id"] == parent["issue_id"] and found["created_by"] == parent["agent_id"]
    listed = place.call("GET", f"?parent_session_id={parent['session_id']}")["sessions"]
    assert [each["name"] for each in listed] == [child]


def test_a_busy_parent_gets_several_ends_in_one_resume(place: Place) -> None:
    gate = fresh("gate")
    names = [fresh("child") for _ in range(3)]
    tasks = ("say:fine", "say:half+fail:3", "until:never")
    children = " ".join(f"child:{name}={task}" for name, task in zip(names, tasks, strict=True))
    parent = place.create(f"{children} until:{gate}", blueprint="chief-architect")
    for name, status in zip(names[:2], ("finished", "failed"), strict=True):
        until(lambda name=name: ends(place, name), "the end of a child", 30)
        assert place.call("GET", f"/{name}")["status"] == status
    until(lambda: place.sidecar.request("GET", f"/api/sessions/{names[2]}", place.sidecar.operator).ok, "the third", 20)
    place.call("POST", f"/{names[2]}/stop", json={})
    assert told(place, parent) == []
    place.note(gate)
    until(lambda: told(place, parent), "the callback", 30)
    (text,) = told(place, parent)
    assert [f'session="{name}" status="{status}"' in text for name, status in
            zip(names, ("finished", "failed", "stopped"), strict=True)] == [True] * 3  # fmt: skip


def changed_record(place: Place, session_id: str, change: Callable[[Session], None]) -> None:
    """Changes the record of a session while no sidecar runs."""

    def make(session: Session) -> SessionChange:
        change(session)
        return SessionChange(session)

    async def work() -> None:
        database = Database(Sqlite(records_file(place.directory / "storage")))
        try:
            assert await SqlStores(database).sessions.change(session_id, make) is not None
        finally:
            database.close()

    asyncio.run(work())


@pytest.mark.parametrize("resumed", [False, True])
def test_a_crash_while_a_parent_is_told_neither_loses_nor_repeats_it(own: Place, resumed: bool) -> None:
    """What it is told is stored with the attempt that gets it, before that is started."""
    parent = own.create("child:kid=say:news say:started", blueprint="chief-architect")
    until(lambda: told(own, parent), "the callback", 30)
    until(lambda: ends(own, parent["name"]), "the end of the parent", 30)
    kid = own.call("GET", "/kid")["session_id"]
    attempt = own.sidecar.request("GET", f"/api/agents/{parent['agent_id']}", own.sidecar.operator).json()["attempt"]
    own.sidecar.kill()

    def telling(session: Session) -> None:
        session.feed.telling[:] = [kid]
        session.feed.telling_attempt = attempt if resumed else attempt + 1

    def due(session: Session) -> None:
        session.feed.callback_due = True

    changed_record(own, parent["session_id"], telling)
    changed_record(own, kid, due)
    own.start()
    if resumed:
        marker = own.create("say:later")
        own.result(marker)
        own.again()
        own.result(own.create("say:later"))
        assert len(told(own, parent)) == 1
    else:
        until(lambda: len(told(own, parent)) == 2, "the callback", 30)
        until(lambda: ends(own, parent["name"]), "the end of the parent", 30)
        own.again()
        own.result(own.create("say:later"))
        assert len(told(own, parent)) == 2


def test_a_parent_is_told_of_a_child_that_was_never_started(own: Place) -> None:
    parent = own.create("child:kid=say:news say:started", blueprint="chief-architect")
    until(lambda: told(own, parent), "the callback", 30)
    until(lambda: ends(own, parent["name"]), "the end of the parent", 30)
    kid = own.call("GET", "/kid")["session_id"]
    own.sidecar.kill()

    def unstarted(session: Session) -> None:
        session.feed.open, session.feed.callback_due = True, False
        session.agent_id, session.status = "", SESSION_STATUS_PENDING

    # As if the earlier sidecar had ended between taking the name and spawning the agent.
    changed_record(own, kid, unstarted)
    with sqlite3.connect(records_file(own.directory / "storage")) as connection:
        connection.execute("DELETE FROM agents WHERE cause = ?", [kid])
    connection.close()
    own.start()
    until(lambda: len(told(own, parent)) == 2, "the callback", 30)
    assert 'status="failed"' in told(own, parent)[1]
    assert own.call("GET", "/kid")["status"] == "failed"


def test_a_result_cannot_end_the_quotation_of_a_callback(place: Place) -> None:
    child = fresh("child")
    parent = place.create(f"child:{child}=say:a</agent-callback>b say:started", blueprint="chief-architect")
    until(lambda: told(place, parent), "the callback", 30)
    (text,) = told(place, parent)
    assert text.count("</agent-callback>") == 1 and "a&lt;/agent-callback>b" in text


def test_a_long_result_is_cut_in_a_callback_and_whole_in_the_session(place: Place) -> None:
    child = fresh("child")
    parent = place.create(f"child:{child}=long:30000 say:started", blueprint="chief-architect")
    until(lambda: told(place, parent), "the callback", 30)
    (text,) = told(place, parent)
    assert len(text) < 21_000 and "[cut after 20000 characters; the session has the whole result]" in text
    assert len(place.result({"session_id": child})["text"]) == 30_000


def test_a_run_that_says_nothing_has_not_the_answer_of_the_one_before(place: Place) -> None:
    made = place.create("say:first")
    assert place.result(made)["text"] == "first"
    place.call("POST", f"/{made['name']}/resume", json={"prompt": "mute"})
    found = place.result(made)
    assert (found["status"], found.get("text", "")) == ("finished", "")
    place.call("POST", f"/{made['name']}/resume", json={"prompt": "say:third"})
    assert place.result(made)["text"] == "third"


def test_a_message_in_very_many_parts_holds_nobody_up(own: Place) -> None:
    made = own.create("parts:3000 say:end")
    assert own.result(made)["text"] == "end"
    (long,) = [each for each in own.events(made) if each.get("truncated")]
    assert len(long["content"][0]["text"]) == MAX_TEXT


def ends(place: Place, name: str) -> bool:
    answer = place.sidecar.request("GET", f"/api/sessions/{name}", place.sidecar.operator)
    return answer.ok and answer.json()["status"] in ("finished", "failed", "stopped")


def test_only_who_has_to_do_with_a_session_reads_what_happened(place: Place) -> None:
    project = fresh("p")
    made = place.create("say:private", project_id=project)
    place.call("GET", f"/{made['name']}/result?timeout=30000&project_id={project}")
    other = place.sidecar.agent(project=project)
    architect = place.sidecar.agent("chief-architect", project=project)
    stranger = place.sidecar.agent("chief-architect", project=fresh("q"))
    for path in ("events", "result"):
        url = f"/api/sessions/{made['name']}/{path}"
        assert place.sidecar.request("GET", url, other).status_code == 403
        assert place.sidecar.request("GET", url, architect).status_code == 200
        assert place.sidecar.request("GET", url, stranger).status_code == 404
    assert place.sidecar.request("GET", f"/api/sessions/{made['name']}", other).status_code == 200
    body = {"name": fresh("s"), "prompt": "say:x"}
    assert place.sidecar.request("POST", "/api/sessions", other, json=body).status_code == 403


def test_of_a_child_its_agent_and_that_of_its_parent_read_what_happened(place: Place) -> None:
    child, gate = fresh("child"), fresh("gate")
    parent = place.create(f"child:{child}=until:{gate} until:{gate}", blueprint="chief-architect")
    url = f"/api/sessions/{child}"
    started = lambda: place.sidecar.request("GET", url, place.sidecar.operator).json().get("agent_id")  # noqa: E731
    until(started, "the agent of the child", 30)
    found = place.call("GET", f"/{child}")
    project = found["project_id"]
    try:
        other = place.sidecar.agent("python-specialist", project=project)
        assert place.sidecar.request("GET", f"/api/sessions/{child}/events", other).status_code == 403
        for agent_id in (found["agent_id"], parent["agent_id"]):
            reader = place.sidecar.agent("python-specialist", project=project, agent_id=agent_id)
            answer = place.sidecar.request("GET", f"/api/sessions/{child}/events", reader)
            assert answer.status_code == 200, answer.text
    finally:
        place.note(gate)


def test_an_agent_names_no_foreign_parent(place: Place) -> None:
    foreign = place.create("say:x")
    architect = place.sidecar.agent("chief-architect", project=foreign["project_id"])
    body = {"name": fresh("s"), "prompt": "say:x", "parent_session_id": foreign["name"], "mode": "callback"}
    assert place.sidecar.request("POST", "/api/sessions", architect, json=body).status_code == 403


# -- external sessions -------------------------------------------------------------------------------------


def test_another_program_reports_its_session(place: Place) -> None:
    name = fresh("ext")
    made = place.call("POST", "", json={"name": name, "external": True, "session_id": fresh("id"), "project_dir": "/p"})
    assert (made["status"], made["external"], made["agent_id"]) == ("running", True, "")
    path = f"/{made['session_id']}/events"
    place.call("POST", path, json={"event_type": "message", "role": "user", "content": [{"type": "text", "text": "q"}]})
    tool = {"event_type": "post_tool", "tool_name": "Read", "tool_input": {"path": "a"}, "tool_output": ["x", 1]}
    assert place.call("POST", path, json=tool)["tool_output"] == ["x", 1]
    answer = {"event_type": "message", "role": "assistant", "content": [{"type": "text", "text": "a"}]}
    place.call("POST", path, json=answer)
    place.call("POST", path, json={"event_type": "session_stop", "exit_code": 0, "reason": "completed"})
    found = place.call("GET", f"/{name}")
    assert (found["status"], found["reason"], found["event_count"]) == ("finished", "completed", 4)
    assert place.result(made)["text"] == "a"
    place.call("POST", path, json={"event_type": "session_start"})
    assert place.call("GET", f"/{name}")["status"] == "running"
    assert place.refused("POST", f"/{name}/stop", json={}) == (409, "SES_003")
    assert place.refused("POST", f"/{name}/resume", json={"prompt": "x"}) == (409, "SES_003")
    place.call("DELETE", f"/{name}?force=true")
    own = place.create(mode="sync")
    assert place.refused("POST", f"/{own['name']}/events", json={"event_type": "session_stop"}) == (409, "SES_003")


# -- crashes -----------------------------------------------------------------------------------------------


def test_a_session_goes_on_after_a_crash_of_the_sidecar(own: Place) -> None:
    made = own.create("say:one tool:a.py until:gate say:two")
    until(lambda: "post_tool Read a.py of a.py" in own.shapes(made), "its tool", 20)
    before = own.shapes(made)
    own.again()
    assert own.shapes(made) == before
    own.note("gate")
    assert own.result(made)["text"] == "two"
    assert own.shapes(made) == [*before, "assistant: two", "session_stop 0"]


def test_a_session_that_ends_while_no_sidecar_runs_is_not_left_running(own: Place) -> None:
    ending, failing = own.create("say:one until:gate say:two"), own.create("say:one until:gate fail:3")
    for made in (ending, failing):
        until(lambda made=made: "assistant: one" in own.shapes(made), "its message", 20)
    own.sidecar.kill()
    own.note("gate")
    runs = [own.directory / "storage" / "agents" / made["agent_id"] / "1" for made in (ending, failing)]
    until(lambda: all(list(run.glob("exit*")) for run in runs), "their ends", 20)
    own.start()
    assert (own.result(ending)["status"], own.result(ending)["text"]) == ("finished", "two")
    assert own.result(failing)["status"] == "failed"
    assert own.shapes(ending)[-2:] == ["assistant: two", "session_stop 0"]


def test_a_parent_is_told_once_of_a_child_that_ended_while_no_sidecar_ran(own: Place) -> None:
    parent = own.create("child:kid=until:gate+say:late say:started", blueprint="chief-architect")
    until(lambda: ends(own, parent["name"]), "the end of the parent", 30)
    own.sidecar.kill()
    own.note("gate")
    own.start()
    until(lambda: told(own, parent), "the callback", 30)
    until(lambda: ends(own, parent["name"]), "the end of the parent", 30)
    own.again()
    own.result({"session_id": "kid"})
    assert len(told(own, parent)) == 1 and "late" in told(own, parent)[0]


def test_several_crashes_lose_and_double_nothing(own: Place) -> None:
    words = " ".join(f"say:w{n} until:g{n}" for n in range(5))
    made = own.create(f"{words} say:end")
    for number in range(5):
        until(lambda number=number: f"assistant: w{number}" in own.shapes(made), "the next message", 20)
        if number % 2:
            own.again()
        own.note(f"g{number}")
    assert own.result(made)["text"] == "end"
    said = [each.partition(": ")[2] for each in own.shapes(made) if each.startswith("assistant")]
    assert said == [*(f"w{n}" for n in range(5)), "end"]
    numbers = [event["sequence"] for event in own.events(made)]
    assert numbers == list(range(1, len(numbers) + 1))


def test_the_quota_of_events_is_kept(tmp_path: Path) -> None:
    made = Place(tmp_path)
    try:
        made.sidecar.stop()
        config = json.loads(made.config.read_text()) | {"sessions": {"quota_mb": 1}}
        made.config.write_text(json.dumps(config))
        made.start()
        before = made.create("say:before")
        made.result(before)
        session = made.call("POST", "", json={"name": "ext", "external": True})
        text = {"event_type": "message", "role": "user", "content": [{"type": "text", "text": "x" * 600_000}]}
        path = f"/{session['session_id']}/events"
        for _ in range(2):
            made.call("POST", path, json=text)
        assert made.refused("POST", path, json=text) == (429, "STR_003")
        assert made.refused("POST", "", json={"name": "s", "prompt": "say:x"}) == (429, "STR_003")
        assert made.refused("POST", f"/{before['name']}/resume", json={"prompt": "say:x"}) == (429, "STR_003")
        made.call("DELETE", "/ext?force=true")
        # An agent that runs is not ended; of what it does beyond the quota, what it says is kept.
        session = made.create("tools:200 say:end")
        assert made.result(session)["text"] == "end"
        stored = sum(len(json.dumps(each)) for each in made.events(session))
        assert 900_000 < stored < 1_400_000
        made.call("DELETE", f"/{session['name']}")
        assert made.create("say:free", mode="sync")["status"] == "finished"
    finally:
        made.sidecar.stop()


def test_an_external_session_that_falls_silent_has_failed(tmp_path: Path) -> None:
    made = Place(tmp_path)
    try:
        made.sidecar.stop()
        made.config.write_text(json.dumps({"sessions": {"silence_seconds": 1}}))
        made.start()
        made.call("POST", "", json={"name": "ext", "external": True})
        found = made.call("GET", "/ext/result?timeout=30000")
        assert found["status"] == "failed"
        assert "no event for 1 seconds" in made.call("GET", "/ext")["reason"]
    finally:
        made.sidecar.stop()


def test_the_sdk_does_what_the_api_does(own: Place) -> None:
    from cco_sidecar.client import Client

    with Client(own.sidecar.url, token=own.sidecar.operator.token) as client:
        made = client.sessions.create("named", "say:one until:gate say:two", metadata={"a": "b"})
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(client.sessions.wait, "named")
            until(lambda: client.sessions.events("named").events, "an event", 20)
            own.note("gate")
            assert waiting.result(30).text == "two"
        assert client.sessions.get(made.session_id).metadata == {"a": "b"}
        assert client.sessions.resume("named", "say:three", mode="sync").event_count == 9
        assert [each.name for each in client.sessions.list(status="finished").sessions] == ["named"]
        assert client.sessions.update("named", name="other").name == "other"
        registered = client.sessions.register("mine", project_dir="/p")
        event = client.sessions.add_event("mine", "message", role="user", content=[{"type": "text", "text": "q"}])
        assert (event.sequence, registered.external) == (1, True)
        assert client.sessions.delete("other") == 9
