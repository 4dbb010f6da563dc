"""What agent programs print of their own work, as JSON lines: session, turns, times, tokens, cost.

Claude Code (``--output-format stream-json``): ``system``/``init`` has the session, ``result`` the rest.
Gemini CLI (``--output-format stream-json``): ``init`` has the session, ``result`` has ``stats``.
Codex CLI (``--json``): ``thread.started`` has the session, each ``turn.completed`` the tokens of one turn.

Nothing is estimated: a figure that was not printed stays absent.
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
_FIGURES = {
    "turns": ("num_turns",),
    "duration_ms": ("duration_ms",),
    "api_duration_ms": ("duration_api_ms",),
    "cost_usd": ("total_cost_usd",),
}
SUMMED = (*_TOKENS, *_FIGURES)


class UsageReader:
    """Reads one attempt's lines. ``final`` is the program's last answer, ``error`` what it says went wrong."""

    def __init__(self) -> None:
        self.usage = Usage()
        self.final = ""
        self.error = ""

    def read(self, line: str) -> None:
        """One line of the program's stdout; what is no JSON object of a known type is passed over."""
        if not line.startswith("{"):
            return
        try:
            value = orjson.loads(line)
        except orjson.JSONDecodeError:
            return
        kind = value.get("type")
        session = value.get("session_id") or value.get("thread_id")
        if isinstance(session, str) and kind in ("system", "init", "thread.started", "result"):
            self.usage.session_id = session[:256]
        if kind == "result":
            self._result(value)
        elif kind == "turn.completed":
            # What went wrong before it was overcome, such as a lost connection.
            self.error = ""
            self._add("turns", 1)
            self._take(value.get("usage"), _TOKENS, add=True)
        elif kind in ("turn.failed", "error"):
            self.error = _message(value)
        elif kind == "item.completed":
            item = value.get("item")
            if isinstance(item, Mapping) and item.get("type") == "agent_message":
                self.final = str(item.get("text", ""))

    def _result(self, value: Mapping[str, Any]) -> None:
        self._take(value, _FIGURES)
        for part in (value.get("usage"), value.get("stats")):
            self._take(part, _TOKENS)
            self._take(part, _FIGURES)
        if isinstance(value.get("result"), str):
            self.final = value["result"]
        if value.get("is_error") or value.get("status") == "error":
            self.error = _message(value)

    def _take(self, source: Any, names: Mapping[str, tuple[str, ...]], *, add: bool = False) -> None:
        if not isinstance(source, Mapping):
            return
        for name, theirs in names.items():
            for key in theirs:
                number = source.get(key)
                if isinstance(number, int | float) and not isinstance(number, bool) and 0 <= number < 1e15:
                    if add:
                        self._add(name, number)
                    else:
                        setattr(self.usage, name, float(number))
                    break

    def _add(self, name: str, number: float) -> None:
        setattr(self.usage, name, getattr(self.usage, name) + number)


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


def _message(value: Mapping[str, Any]) -> str:
    error = value.get("error")
    found = error.get("message") if isinstance(error, Mapping) else error
    text = found or value.get("result") or value.get("message") or value.get("subtype") or "it reported an error"
    return str(text)[:500]
