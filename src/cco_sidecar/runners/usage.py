"""Reads what agent programs report about their work as JSON lines: session, turns, durations, tokens, cost.

Claude Code (``--output-format stream-json``): ``system``/``init`` names the session, ``result`` has the rest.

Gemini CLI (``--output-format stream-json``): ``init`` names the session, ``message`` lines have the answer, ``result``
has ``stats``. An ``error`` with severity ``warning`` is not a failure.

Codex CLI (``--json``): ``thread.started`` names the session, each ``turn.completed`` has the tokens of the whole
thread.

The figures are the programs' own: Codex and Gemini count cached tokens in ``input_tokens``, Claude does not. For a run
that ended before its ``result``, they are the figures of its messages so far. Nothing is estimated: a figure that was
not printed is absent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cco_sidecar.core.json_lines import object_of
from orchestra.v1.agent_service_pb2 import Usage

# Our field names, and the names that the programs use.
_TOKENS = {
    "input_tokens": ("input_tokens",),
    "output_tokens": ("output_tokens",),
    "cache_read_tokens": ("cache_read_input_tokens", "cached_input_tokens", "cached"),
    "cache_creation_tokens": ("cache_creation_input_tokens",),
}
# The same for each model in Claude's ``modelUsage``, which includes the sub-agents.
_OF_MODEL = {
    "input_tokens": ("inputTokens",),
    "output_tokens": ("outputTokens",),
    "cache_read_tokens": ("cacheReadInputTokens",),
    "cache_creation_tokens": ("cacheCreationInputTokens",),
}
_FIGURES = {
    "turns": ("num_turns",),
    "duration_ms": ("duration_ms",),
    "api_duration_ms": ("duration_api_ms",),
    "cost_usd": ("total_cost_usd",),
}
# Characters of a message in parts, after which more parts are not kept.
_MAX_SAID = 200_000
SUMMED = (*_TOKENS, *_FIGURES)


class UsageReader:
    """Reads the lines of one attempt. Not thread-safe.

    ``error``: the error that the program reported; ``running_total``: its tokens count the whole session, including
    earlier attempts; ``resumed``: the session that the attempt should resume. Only a result replaces that session,
    because a program may announce one that it does not keep.
    """

    def __init__(self, resumed: str = "") -> None:
        self._found = Usage(session_id=resumed) if resumed else Usage()
        self.running_total = False
        self.error = ""
        self._resumed = bool(resumed)
        self._answer = ""
        # The last message, in parts; and how long they are.
        self._said: list[str] = []
        self._length = 0
        self._in_message = False
        self._succeeded = False
        # Usage by message id, until a result has the total.
        self._of_messages: dict[str, Usage] = {}

    @property
    def final(self) -> str:
        """The answer in the program's result, or else its last message."""
        return self._answer or "".join(self._said)

    def read(self, line: str) -> None:
        """Reads one line of the program's stdout. A line that is not a JSON object of a known type is ignored."""
        value = object_of(line)
        if value is None:
            return
        kind = value.get("type")
        self._session(kind, value)
        if kind != "message":
            self._in_message = False
        if kind == "result":
            self._result(value)
        elif kind == "turn.completed":
            # The program recovered from what failed earlier, such as a lost connection.
            self.error = ""
            self._add("turns", 1)
            self.running_total = True
            self._merge(_tokens(value.get("usage")))
        elif kind in ("turn.failed", "error"):
            if value.get("severity") != "warning":
                self.error = _message(value)
        elif kind == "item.completed":
            item = value.get("item")
            if isinstance(item, Mapping) and item.get("type") == "agent_message":
                self._say(str(item.get("text", "")))
        elif kind == "assistant":
            self._assistant(value)
        elif kind == "message" and value.get("role") in ("assistant", "model"):
            self._part(str(value.get("content", "")))

    def _session(self, kind: Any, value: Mapping[str, Any]) -> None:
        session = value.get("session_id") or value.get("thread_id")
        named = ("result",) if self._resumed else ("system", "init", "thread.started", "result")
        if isinstance(session, str) and kind in named:
            self._found.session_id = session[:256]

    def _assistant(self, value: Mapping[str, Any]) -> None:
        message = value.get("message")
        text = _text_of(message)
        if text and not value.get("parent_tool_use_id"):
            # Otherwise a sub-agent wrote the message.
            self._say(text)
        if isinstance(message, Mapping) and (found := _tokens(message.get("usage"))) is not None:
            # The same message is repeated for each of its parts.
            self._of_messages[str(message.get("id"))] = found

    @property
    def usage(self) -> Usage:
        """The usage so far: the figures of the result, or else those of the messages."""
        if not self._of_messages or any(self._found.HasField(name) for name in _TOKENS):
            return self._found
        total = Usage()
        for usage in self._of_messages.values():
            total = added(total, usage)
        total.MergeFrom(self._found)
        return total

    def _part(self, text: str) -> None:
        """Adds text to the answer: a message arrives in one line or in several."""
        if not self._in_message:
            self._say("")
        self._in_message = True
        if self._length < _MAX_SAID:
            self._said.append(text)
            self._length += len(text)

    def _say(self, text: str) -> None:
        self._said, self._length = [text], len(text)

    def _result(self, value: Mapping[str, Any]) -> None:
        for part in (value, value.get("usage"), value.get("stats")):
            self._merge(_figures(part, _FIGURES))
        self._merge(_of_models(value) or _tokens(value.get("usage")) or _tokens(value.get("stats")))
        if isinstance(value.get("result"), str):
            self._answer = value["result"]
        if value.get("is_error") or value.get("status") == "error" or str(value.get("subtype", "")).startswith("error"):
            if not (self._succeeded and not value.get("num_turns")):
                # After a success, an error without a turn only says how the program was closed.
                self.error = _message(value)
            return
        self._succeeded = True
        if value.get("status") == "success":
            # The program recovered from earlier errors.
            self.error = ""

    def _merge(self, found: Usage | None) -> None:
        """Keeps the higher figure: within one process no figure decreases, and the last turn may have done nothing."""
        if found is None:
            return
        for name in SUMMED:
            if found.HasField(name):
                setattr(self._found, name, max(getattr(self._found, name), getattr(found, name)))

    def _add(self, name: str, number: float) -> None:
        setattr(self._found, name, getattr(self._found, name) + number)


def _figures(source: Any, names: Mapping[str, tuple[str, ...]]) -> Usage:
    found = Usage()
    for name, theirs in names.items() if isinstance(source, Mapping) else ():
        for key in theirs:
            number = source.get(key)
            if isinstance(number, int | float) and not isinstance(number, bool) and 0 <= number < 1e15:
                setattr(found, name, float(number))
                break
    return found


def _tokens(source: Any) -> Usage | None:
    """Returns the token counts of a usage object; None if it has none."""
    found = _figures(source, _TOKENS)
    return found if found.ByteSize() else None


def _of_models(result: Mapping[str, Any]) -> Usage | None:
    """Returns the sum over all models: Claude's ``modelUsage``, Gemini's ``stats.models``."""
    stats = result.get("stats")
    total = Usage()
    if isinstance(of_claude := result.get("modelUsage"), Mapping):
        for each in of_claude.values():
            total = added(total, _figures(each, _OF_MODEL))
    elif isinstance(stats, Mapping) and isinstance(of_gemini := stats.get("models"), Mapping):
        for each in of_gemini.values():
            total = added(total, _tokens(each) or Usage())
    return total if total.ByteSize() else None


def added(earlier: Usage, attempt: Usage) -> Usage:
    """Returns the sum of two usages. The session is the attempt's, if it has one."""
    total = Usage()
    total.CopyFrom(earlier)
    if attempt.session_id:
        total.session_id = attempt.session_id
    for name in SUMMED:
        if attempt.HasField(name):
            setattr(total, name, getattr(earlier, name) + getattr(attempt, name))
    return total


def tokens_of(usage: Usage) -> Usage:
    """Returns the token counts alone."""
    return Usage(**{name: getattr(usage, name) for name in _TOKENS if usage.HasField(name)})


def without_tokens(usage: Usage) -> Usage:
    """Returns everything except the token counts."""
    rest = Usage()
    rest.CopyFrom(usage)
    for name in _TOKENS:
        rest.ClearField(name)
    return rest


def _text_of(message: Any) -> str:
    """Returns the text parts of a Claude Code message."""
    content = message.get("content") if isinstance(message, Mapping) else None
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else ()
    texts = (part.get("text") for part in parts if isinstance(part, Mapping) and part.get("type") == "text")
    return "".join(text for text in texts if isinstance(text, str))


def _message(value: Mapping[str, Any]) -> str:
    """Returns the error message of a line, at most 500 characters."""
    error = value.get("error")
    found = error.get("message") if isinstance(error, Mapping) else error
    listed = value.get("errors")
    several = "; ".join(map(str, listed)) if isinstance(listed, list) else ""
    texts = (found, value.get("result"), several, value.get("message"), value.get("subtype"))
    return str(next(filter(None, texts), "unspecified error"))[:500]
