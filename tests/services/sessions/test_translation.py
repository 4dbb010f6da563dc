"""What programs print, as events. The lines are those of Claude Code 2.0, Gemini CLI 0.9 and Codex CLI 0.46."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from cco_sidecar.core import codec
from cco_sidecar.services.sessions.translation import MAX_TEXT, Translation
from orchestra.v1.agent_service_pb2 import LogLine
from orchestra.v1.session_service_pb2 import SessionEvent


def shown(event: SessionEvent) -> tuple[Any, ...]:
    value = codec.to_dict(event)
    if event.event_type == "message":
        return ("message", event.role, [part.text for part in event.content])
    parts = (event.event_type, event.tool_name, value.get("tool_input"))
    return (*parts, value.get("tool_output"), event.error) if event.event_type == "post_tool" else parts


def lines(*values: Any, stream: str = "stdout") -> list[LogLine]:
    texts = [value if isinstance(value, str) else json.dumps(value) for value in values]
    return [LogLine(timestamp=Timestamp(seconds=n), stream=stream, text=text) for n, text in enumerate(texts)]


def translated(given: Sequence[LogLine], *, reports: bool = True) -> list[tuple[Any, ...]]:
    translation = Translation(reports=reports)
    found = list(translation.read(given))
    return [shown(event) for event in (*found, *translation.finish())]


def claude(role: str, *parts: Any) -> dict[str, Any]:
    return {"type": role, "message": {"role": role, "content": list(parts)}, "session_id": "s"}


def test_claude() -> None:
    found = translated(
        lines(
            {"type": "system", "subtype": "init", "session_id": "s"},
            claude("assistant", {"type": "thinking", "thinking": "hm"}),
            claude(
                "assistant",
                {"type": "text", "text": "I read it."},
                {"type": "tool_use", "id": "t1", "name": "Read", "input": {"file_path": "a.py", "limit": 5}},
            ),
            claude("user", {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "code"}]}),
            claude("assistant", {"type": "tool_use", "id": "t2", "name": "Bash", "input": {"command": "false"}}),
            claude("user", {"type": "tool_result", "tool_use_id": "t2", "content": "exit 1", "is_error": True}),
            claude("assistant", {"type": "text", "text": "Done."}),
            {"type": "result", "subtype": "success", "result": "Done."},
        )
    )
    given, failing = {"file_path": "a.py", "limit": 5}, {"command": "false"}
    assert found == [
        ("message", "assistant", ["I read it."]),
        ("pre_tool", "Read", given),
        ("post_tool", "Read", given, [{"type": "text", "text": "code"}], ""),
        ("pre_tool", "Bash", failing),
        ("post_tool", "Bash", failing, "exit 1", "exit 1"),
        ("message", "assistant", ["Done."]),
    ]


def test_an_answer_that_was_not_said_before_is_the_last_message() -> None:
    result = {"type": "result", "subtype": "success", "result": "only here"}
    assert translated(lines(result)) == [("message", "assistant", ["only here"])]


def test_gemini_says_a_message_in_parts() -> None:
    found = translated(
        lines(
            {"type": "init", "session_id": "s"},
            {"type": "message", "role": "user", "content": "task"},
            {"type": "message", "role": "assistant", "content": "I ", "delta": True},
            {"type": "message", "role": "assistant", "content": "look.", "delta": True},
            {"type": "tool_use", "tool_name": "read_file", "tool_id": "1", "parameters": {"path": "a"}},
            {"type": "tool_result", "tool_id": "1", "status": "success", "output": "text"},
            {"type": "tool_use", "tool_name": "shell", "tool_id": "2", "parameters": {"command": "x"}},
            {"type": "tool_result", "tool_id": "2", "status": "error", "error": {"type": "e", "message": "denied"}},
            {"type": "message", "role": "assistant", "content": "Done."},
        )
    )
    assert found == [
        ("message", "assistant", ["I look."]),
        ("pre_tool", "read_file", {"path": "a"}),
        ("post_tool", "read_file", {"path": "a"}, "text", ""),
        ("pre_tool", "shell", {"command": "x"}),
        ("post_tool", "shell", {"command": "x"}, None, "denied"),
        ("message", "assistant", ["Done."]),
    ]


def test_codex() -> None:
    running = {
        "id": "i1",
        "type": "command_execution",
        "command": "ls",
        "aggregated_output": "",
        "status": "in_progress",
    }
    ended = running | {"aggregated_output": "a.py\n", "exit_code": 0, "status": "completed"}
    found = translated(
        lines(
            {"type": "thread.started", "thread_id": "t"},
            {"type": "item.completed", "item": {"id": "i0", "type": "reasoning", "text": "hm"}},
            {"type": "item.started", "item": running},
            {"type": "item.completed", "item": ended},
            {
                "type": "item.completed",
                "item": {"id": "i2", "type": "mcp_tool_call", "server": "pw", "tool": "open", "status": "failed"},
            },
            {"type": "item.completed", "item": {"id": "i3", "type": "agent_message", "text": "Done."}},
            {"type": "turn.completed", "usage": {"input_tokens": 1}},
        )
    )
    assert found == [
        ("pre_tool", "shell", {"command": "ls"}),
        ("post_tool", "shell", {"command": "ls"}, {"aggregated_output": "a.py\n", "exit_code": 0}, ""),
        ("pre_tool", "open", {"server": "pw", "tool": "open"}),
        ("post_tool", "open", {"server": "pw", "tool": "open"}, {}, "failed"),
        ("message", "assistant", ["Done."]),
    ]


def test_the_output_of_other_programs_is_one_message() -> None:
    given = [*lines("first", "second"), *lines("a warning", stream="stderr")]
    assert translated(given, reports=False) == [("message", "assistant", ["first\nsecond"])]
    assert translated(lines(""), reports=False) == []
    (message,) = translated(lines(*(f"{n:0100}" for n in range(2000))), reports=False)
    assert len(message[2][0]) <= MAX_TEXT and message[2][0].endswith(f"{1999:0100}")


@pytest.mark.parametrize(
    "line",
    [
        "no JSON",
        "{",
        "[]",
        {"type": "assistant"},
        {"type": "assistant", "message": 5},
        {"type": "assistant", "message": {"content": [5, {"type": "text"}]}},
        {"type": "user", "message": {"content": [{"type": "tool_result"}]}},
        {"type": "item.started", "item": 5},
        {"type": "item.completed", "item": {"type": "unknown"}},
        {"type": "result", "result": 5},
        {"type": 5},
    ],
)
def test_what_has_another_form_does_no_harm(line: Any) -> None:
    begun = {"type": "system", "subtype": "init"}
    assert all(kind[0] == "post_tool" for kind in translated(lines(begun, line)))


def test_long_texts_are_cut_and_said_to_be() -> None:
    deep: Any = "end"
    for _ in range(200):
        deep = {"in": deep}
    tool = {
        "type": "tool_use",
        "id": "1",
        "name": "Write",
        "input": {"text": "x" * 100_000, "deep": deep, "big": 2**60},
    }
    translation = Translation(reports=True)
    (event,) = translation.read(lines(claude("assistant", tool)))
    value = codec.to_dict(event)["tool_input"]
    assert event.truncated and len(value["text"]) == MAX_TEXT and value["big"] == str(2**60)
    (short,) = translation.read(lines(claude("assistant", {"type": "text", "text": "x"})))
    assert not short.truncated


def test_the_same_lines_give_the_same_events_however_they_arrive() -> None:
    given = lines(
        {"type": "message", "role": "assistant", "content": "a"},
        {"type": "message", "role": "assistant", "content": "b"},
        {"type": "tool_use", "tool_name": "t", "tool_id": "1", "parameters": {}},
        {"type": "result", "result": "c"},
    )
    translation = Translation(reports=True)
    one_by_one = [shown(event) for line in given for event in translation.read([line])]
    assert [*one_by_one, *map(shown, translation.finish())] == translated(given)


def test_half_of_a_pair_of_surrogates_loses_no_line() -> None:
    line = json.dumps(claude("assistant", {"type": "text", "text": "found X and \\ud83d \U0001f422"})).replace(
        "X", "\\ud83d"
    )
    assert translated(lines(line)) == [("message", "assistant", ["found \ufffd and \\ud83d \U0001f422"])]
    assert translated(lines('{"type":"result","result":"cut \\udc22"}')) == [("message", "assistant", ["cut \ufffd"])]


def test_what_a_sub_agent_does_is_marked_and_never_the_answer() -> None:
    of_sub = claude("assistant", {"type": "text", "text": "41"}) | {"parent_tool_use_id": "t1"}
    translation = Translation(reports=True)
    own = claude("assistant", {"type": "text", "text": "42"})
    found = [*translation.read(lines(own, of_sub, {"type": "result", "result": "42"})), *translation.finish()]
    assert [(event.content[0].text, event.sub_agent) for event in found] == [("42", False), ("41", True)]


@pytest.mark.parametrize(
    ("said", "answer"),
    [(["part A", "part B"], "part A\npart B"), (["\n\nanswer"], "answer"), (["part A", "part B"], "part A\n\npart B")],
)
def test_the_answer_is_not_listed_twice(said: list[str], answer: str) -> None:
    given = claude("assistant", *({"type": "text", "text": text} for text in said))
    assert translated(lines(given, {"type": "result", "result": answer})) == [("message", "assistant", said)]


def test_a_message_in_parts_is_bounded() -> None:
    translation = Translation(reports=True)
    part = {"type": "message", "role": "assistant", "content": "x" * 30_000}
    assert list(translation.read(lines(*[part] * 500))) == []
    assert sum(map(len, translation._parts)) <= MAX_TEXT + 30_000
    (event,) = translation.finish()
    assert len(event.content[0].text) == MAX_TEXT and event.truncated


def test_a_program_that_should_print_json_and_prints_text_has_said_it() -> None:
    assert translated(lines("the answer", "is 42")) == [("message", "assistant", ["the answer\nis 42"])]
    assert translated(lines("a warning", {"type": "result", "result": "42"})) == [("message", "assistant", ["42"])]
