"""Translates what agent programs print into the events of a session.

Claude Code (``--output-format stream-json``): ``assistant`` messages have ``text`` and ``tool_use`` parts, ``user``
messages ``tool_result`` parts; ``result`` has the answer.

Gemini CLI (``--output-format stream-json``): ``message`` lines, in parts; ``tool_use`` and ``tool_result``.

Codex CLI (``--json``): ``item.started`` and ``item.completed`` with ``agent_message``, ``command_execution``,
``mcp_tool_call``, ``web_search`` and ``file_change`` items.

What other programs print to stdout is one message, at their end. The same lines always give the same events: after a
restart of the sidecar they are read again, and the events that are stored are left out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import orjson
from google.protobuf.struct_pb2 import NULL_VALUE, Value

from cco_sidecar.core import codec
from cco_sidecar.core.json_lines import object_of
from orchestra.v1.agent_service_pb2 import LogLine
from orchestra.v1.session_service_pb2 import SessionContent, SessionEvent

USER, ASSISTANT = "user", "assistant"
MESSAGE, PRE_TOOL, POST_TOOL = "message", "pre_tool", "post_tool"
# Characters of one text in an event.
MAX_TEXT = 64_000
# Names of the tools that Codex has no other name for.
_CODEX_TOOLS = {"command_execution": "shell", "web_search": "web_search", "file_change": "apply_patch"}
_ABOUT_ITEMS = frozenset(("id", "type", "status"))
# What a Codex item returned; the rest is what it was called with.
_CODEX_OUTPUT = ("aggregated_output", "exit_code", "result", "error")


def message(role: str, texts: Sequence[str]) -> SessionEvent:
    """Returns a message of one or more texts."""
    event = SessionEvent(event_type=MESSAGE, role=role)
    for text in texts:
        event.content.append(SessionContent(type="text", text=_cut(text, event)))
    return event


def set_value(event: SessionEvent, name: str, given: Any) -> None:
    """Sets ``tool_input`` or ``tool_output`` of an event to a JSON value, with its long texts cut."""
    field: Value = getattr(event, name)
    field.CopyFrom(_value(_shortened(given, event)))


class Translation:
    """Reads the output of one attempt."""

    def __init__(self, *, reports: bool) -> None:
        """``reports``: the program prints JSON lines."""
        self._reports = reports
        self._tools: dict[str, tuple[str, Any]] = {}
        # It has printed such a line. One that never does is read like other programs.
        self._reported = False
        self._said = ""
        self._answer = ""
        # Parts of a message that has not ended.
        self._parts: list[str] = []
        self._parts_length = 0
        self._lines: deque[str] = deque()
        self._length = 0

    def read(self, lines: Iterable[LogLine]) -> Iterator[SessionEvent]:
        """Yields the events that lines add."""
        for line in lines:
            if line.stream == "stdout":
                for event in self._line(line.text):
                    event.timestamp.CopyFrom(line.timestamp)
                    yield event

    def finish(self) -> Iterator[SessionEvent]:
        """Yields the events that are known when the program has ended, without a time."""
        yield from self._whole_message()
        answer = self._answer or "\n".join(self._lines).strip()
        # Programs repeat their last message as the answer, with other blanks.
        if answer and answer.split() != self._said.split():
            yield message(ASSISTANT, [answer])

    def _line(self, text: str) -> Iterator[SessionEvent]:
        if not self._reports:
            self._keep(text)
            return
        value = object_of(text)
        if value is None:
            if not self._reported:
                self._keep(text)
            return
        if not self._reported:
            self._reported = True
            self._lines.clear()
        kind = value.get("type")
        if kind == MESSAGE and value.get("role") in (ASSISTANT, "model"):
            if self._parts_length <= MAX_TEXT:
                part = str(value.get("content", ""))
                self._parts.append(part)
                self._parts_length += len(part)
            return
        yield from self._whole_message()
        if kind in (ASSISTANT, USER):
            of_sub_agent = bool(value.get("parent_tool_use_id"))
            said = partial(message, ASSISTANT) if of_sub_agent else self._say
            given = value.get("message")
            for event in self._assistant(given, said) if kind == ASSISTANT else self._results(given):
                event.sub_agent = of_sub_agent
                yield event
        elif kind == "tool_use":
            yield self._call(str(value.get("tool_id")), str(value.get("tool_name")), value.get("parameters"))
        elif kind == "tool_result":
            failed = value.get("status") == "error"
            yield self._return(str(value.get("tool_id")), value.get("output"), failed, value.get("error"))
        elif kind in ("item.started", "item.completed"):
            yield from self._item(value.get("item"), ended=kind == "item.completed")
        elif kind == "result" and isinstance(value.get("result"), str):
            self._answer = value["result"]

    def _keep(self, text: str) -> None:
        """Keeps the last lines of a program that prints no JSON."""
        self._lines.append(text)
        self._length += len(text) + 1
        while self._length > MAX_TEXT and len(self._lines) > 1:
            self._length -= len(self._lines.popleft()) + 1

    def _whole_message(self) -> Iterator[SessionEvent]:
        if self._parts:
            text, self._parts, self._parts_length = "".join(self._parts), [], 0
            yield self._say([text])

    def _say(self, texts: Sequence[str]) -> SessionEvent:
        self._said = "\n".join(texts)
        return message(ASSISTANT, texts)

    def _assistant(self, given: Any, say: Callable[[Sequence[str]], SessionEvent]) -> Iterator[SessionEvent]:
        texts: list[str] = []
        for part in _parts(given):
            if part.get("type") == "text" and part.get("text"):
                texts.append(str(part["text"]))
            elif part.get("type") == "tool_use":
                if texts:
                    yield say(texts)
                    texts = []
                yield self._call(str(part.get("id")), str(part.get("name")), part.get("input"))
        if texts:
            yield say(texts)

    def _results(self, given: Any) -> Iterator[SessionEvent]:
        for part in _parts(given):
            if part.get("type") == "tool_result":
                yield self._return(
                    str(part.get("tool_use_id")), part.get("content"), part.get("is_error") is True, None
                )

    def _call(self, tool_id: str, name: str, given: Any) -> SessionEvent:
        self._tools[tool_id] = name, given
        event = SessionEvent(event_type=PRE_TOOL, tool_name=name[:256])
        set_value(event, "tool_input", given)
        return event

    def _return(self, tool_id: str, output: Any, failed: bool, error: Any) -> SessionEvent:
        name, given = self._tools.pop(tool_id, ("", None))
        event = SessionEvent(event_type=POST_TOOL, tool_name=name[:256])
        set_value(event, "tool_input", given)
        set_value(event, "tool_output", output)
        if failed or error:
            event.error = _cut(_text(error or output) or "failed", event)
        return event

    def _item(self, item: Any, *, ended: bool) -> Iterator[SessionEvent]:
        if not isinstance(item, Mapping):
            return
        kind, item_id = str(item.get("type")), str(item.get("id"))
        if kind == "agent_message":
            if ended:
                yield self._say([str(item.get("text", ""))])
            return
        name = str(item.get("tool") or "") if kind == "mcp_tool_call" else _CODEX_TOOLS.get(kind, "")
        if not name:
            return
        if item_id not in self._tools:
            called = {key: value for key, value in item.items() if key not in (*_ABOUT_ITEMS, *_CODEX_OUTPUT)}
            yield self._call(item_id, name, called)
        if ended:
            output = {key: item[key] for key in _CODEX_OUTPUT if item.get(key) is not None}
            yield self._return(item_id, output, item.get("status") == "failed", item.get("error"))


def _parts(given: Any) -> list[Mapping[str, Any]]:
    content = given.get("content") if isinstance(given, Mapping) else None
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return [part for part in content if isinstance(part, Mapping)] if isinstance(content, list) else []


def _text(given: Any) -> str:
    if isinstance(given, str):
        return given
    if isinstance(given, Mapping) and isinstance(given.get("message"), str):
        return str(given["message"])
    texts = (
        [str(part.get("text", "")) for part in given if isinstance(part, Mapping)] if isinstance(given, list) else []
    )
    return "\n".join(filter(None, texts)) or (orjson.dumps(given).decode() if given else "")


def _cut(text: str, event: SessionEvent) -> str:
    if len(text) > MAX_TEXT:
        event.truncated = True
    return text[:MAX_TEXT]


def _shortened(given: Any, event: SessionEvent, depth: int = 0) -> Any:
    """Returns a JSON value whose long texts, and what is too deep, are cut."""
    if isinstance(given, str):
        return _cut(given, event)
    if isinstance(given, dict | list) and depth > codec.MAX_DEPTH - 4:
        event.truncated = True
        return None
    if isinstance(given, dict):
        return {str(key): _shortened(value, event, depth + 1) for key, value in given.items()}
    if isinstance(given, list):
        return [_shortened(value, event, depth + 1) for value in given]
    if isinstance(given, int | float) and abs(given) > codec.MAX_EXACT:
        return str(given)
    return given


def _value(given: Any) -> Value:
    found = Value()
    if isinstance(given, dict):
        found.struct_value.SetInParent()
        found.struct_value.update(given)
    elif isinstance(given, list):
        found.list_value.SetInParent()
        found.list_value.extend(given)
    elif isinstance(given, bool):
        found.bool_value = given
    elif isinstance(given, int | float):
        found.number_value = given
    elif isinstance(given, str):
        found.string_value = given
    else:
        found.null_value = NULL_VALUE
    return found
