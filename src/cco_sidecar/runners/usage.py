"""What agent programs print of their own work, as JSON lines: session, turns, times, tokens, cost.

Claude Code (``--output-format stream-json``): ``system``/``init`` has the session, ``result`` the rest.
Gemini CLI (``--output-format stream-json``): ``init`` has the session, ``message`` lines the answer, ``result`` has
``stats``; an ``error`` may be of severity ``warning``.
Codex CLI (``--json``): ``thread.started`` has the session, each ``turn.completed`` the tokens of the whole thread.

Figures are the programs' own: Codex and Gemini count cached tokens among ``input_tokens``, Claude does not. A run that
was ended before its ``result`` has what its messages said until then. Nothing is estimated: a figure that was not
printed stays absent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from orchestra.v1.agent_service_pb2 import Usage

# Ours to the names that the programs use.
_TOKENS = {
    "input_tokens": ("input_tokens",),
    "output_tokens": ("output_tokens",),
    "cache_read_tokens": ("cache_read_input_tokens", "cached_input_tokens", "cached"),
    "cache_creation_tokens": ("cache_creation_input_tokens",),
}
# Of Claude's ``modelUsage``: each model's, those of its sub-agents included.
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
SUMMED = (*_TOKENS, *_FIGURES)


class UsageReader:
    """Reads one attempt's lines. ``final`` is the program's last answer, ``error`` what it says went wrong.
    ``running_total``: its tokens are those of the whole session, earlier attempts included. ``resumed``: the session
    that the attempt was to go on with; only a result makes it another, for the program may announce one that it then
    does not keep."""

    def __init__(self, resumed: str = "") -> None:
        self._found = Usage(session_id=resumed) if resumed else Usage()
        self.running_total = False
        self.error = ""
        self._resumed = bool(resumed)
        self._answer = ""
        self._said = ""
        self._in_message = False
        self._succeeded = False
        # Of messages, by their ids, until a result has the sum.
        self._of_messages: dict[str, Usage] = {}

    @property
    def final(self) -> str:
        """The result that the program named, or else what it printed last."""
        return self._answer or self._said

    def read(self, line: str) -> None:
        """One line of the program's stdout; what is no JSON object of a known type is passed over."""
        if not line.startswith("{"):
            return
        try:
            value = orjson.loads(line)
        except orjson.JSONDecodeError:
            return
        kind = value.get("type")
        self._session(kind, value)
        if kind != "message":
            self._in_message = False
        if kind == "result":
            self._result(value)
        elif kind == "turn.completed":
            # What went wrong before it was overcome, such as a lost connection.
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
                self._said = str(item.get("text", ""))
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
        if not value.get("parent_tool_use_id"):
            # Else a sub-agent said it.
            self._said = _text_of(message) or self._said
        if isinstance(message, Mapping) and (found := _tokens(message.get("usage"))) is not None:
            # A message comes again with each of its parts.
            self._of_messages[str(message.get("id"))] = found

    @property
    def usage(self) -> Usage:
        """What is known so far: the result's figures, or else those of the messages."""
        if not self._of_messages or any(self._found.HasField(name) for name in _TOKENS):
            return self._found
        total = Usage()
        for usage in self._of_messages.values():
            total = added(total, usage)
        total.MergeFrom(self._found)
        return total

    def _part(self, text: str) -> None:
        """A message comes in one line or in several."""
        self._said = self._said + text if self._in_message else text
        self._in_message = True

    def _result(self, value: Mapping[str, Any]) -> None:
        for part in (value, value.get("usage"), value.get("stats")):
            self._merge(_figures(part, _FIGURES))
        self._merge(_of_models(value) or _tokens(value.get("usage")) or _tokens(value.get("stats")))
        if isinstance(value.get("result"), str):
            self._answer = value["result"]
        if value.get("is_error") or value.get("status") == "error" or str(value.get("subtype", "")).startswith("error"):
            if not (self._succeeded and not value.get("num_turns")):
                # After a success, one without a turn says only how the program was left.
                self.error = _message(value)
            return
        self._succeeded = True
        if value.get("status") == "success":
            # An error before it was overcome.
            self.error = ""

    def _merge(self, found: Usage | None) -> None:
        """Within one process no figure falls: the last line may be of a turn that did nothing."""
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
    """None when there are none."""
    found = _figures(source, _TOKENS)
    return found if found.ByteSize() else None


def _of_models(result: Mapping[str, Any]) -> Usage | None:
    """The sum of what each model used: Claude's ``modelUsage``, Gemini's ``stats.models``."""
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
    """The sum over attempts; the session is the last one's."""
    total = Usage()
    total.CopyFrom(earlier)
    if attempt.session_id:
        total.session_id = attempt.session_id
    for name in SUMMED:
        if attempt.HasField(name):
            setattr(total, name, getattr(earlier, name) + getattr(attempt, name))
    return total


def tokens_of(usage: Usage) -> Usage:
    return Usage(**{name: getattr(usage, name) for name in _TOKENS if usage.HasField(name)})


def without_tokens(usage: Usage) -> Usage:
    rest = Usage()
    rest.CopyFrom(usage)
    for name in _TOKENS:
        rest.ClearField(name)
    return rest


def _text_of(message: Any) -> str:
    """The text parts of a message of Claude Code."""
    content = message.get("content") if isinstance(message, Mapping) else None
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else ()
    texts = (part.get("text") for part in parts if isinstance(part, Mapping) and part.get("type") == "text")
    return "".join(text for text in texts if isinstance(text, str))


def _message(value: Mapping[str, Any]) -> str:
    error = value.get("error")
    found = error.get("message") if isinstance(error, Mapping) else error
    listed = value.get("errors")
    several = "; ".join(map(str, listed)) if isinstance(listed, list) else ""
    texts = (found, value.get("result"), several, value.get("message"), value.get("subtype"))
    return str(next(filter(None, texts), "it reported an error"))[:500]
