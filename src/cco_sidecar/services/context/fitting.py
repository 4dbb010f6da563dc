"""Finds the size in bytes at which a context is within a budget of tokens."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from cco_sidecar.core.budget import Budget
from cco_sidecar.core.codec import to_json
from cco_sidecar.services.context.build import LIMIT_BYTES
from cco_sidecar.services.context.focused import Focused
from cco_sidecar.services.context.tokens import tokenizer

# The smallest budget in bytes that every context fits.
_LEAST_BYTES = 4096
# What a token of source code has on average, as JSON: where the search begins.
_BYTES_OF_TOKEN = 3.3
_ATTEMPTS = 5
# A context that could be larger by this share is made again.
_SLACK = 0.08
# What the count itself and the time of the response take, in tokens.
_OWN_TOKENS = 60


class Fitted(NamedTuple):
    """A context within a budget, and the size in bytes for which it was built."""

    focused: Focused
    max_bytes: int


def fit(budget: Budget, build: Callable[[int], Focused]) -> Fitted:
    """Returns the largest context found that is within the budget. ``build(max_bytes)`` makes one of a size."""
    limit = min(budget.max_bytes or LIMIT_BYTES, LIMIT_BYTES)
    if budget.max_tokens is None:
        return Fitted(build(limit), limit)
    best: Fitted | None = None
    size = min(limit, int(budget.max_tokens * _BYTES_OF_TOKEN))
    for _ in range(_ATTEMPTS):
        size = max(_LEAST_BYTES, size)
        focused = build(size)
        count = _count(focused)
        if count <= budget.max_tokens:
            best = Fitted(focused, size)
            more = budget.max_tokens / count
            if more < 1 + _SLACK or size >= limit or not focused.response.truncated:
                break
            size = min(limit, int(size * (1 + (more - 1) * 0.8)))
        else:
            if best is not None:
                break
            size = int(size * budget.max_tokens / count * 0.97)
    if best is None:
        # A token has at least one byte.
        size = max(_LEAST_BYTES, min(limit, budget.max_tokens))
        focused = build(size)
        _count(focused)
        best = Fitted(focused, size)
    return best


def _count(focused: Focused) -> int:
    """Counts the tokens of a response, and says in it how many there are."""
    count = tokenizer().count(to_json(focused.response)) + _OWN_TOKENS
    focused.response.total_tokens = count
    focused.response.tokenizer = tokenizer().name
    return count
