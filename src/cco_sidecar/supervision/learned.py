"""What is learned from a result: its decisions, its findings and its lessons."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from itertools import islice
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from cco_sidecar.core import codec, ids
from cco_sidecar.repository import masking
from orchestra.v1.knowledge_service_pb2 import (
    KNOWLEDGE_KIND_DECISION,
    KNOWLEDGE_KIND_FINDING,
    KNOWLEDGE_KIND_LESSON,
    KNOWLEDGE_STATUS_APPROVED,
    KNOWLEDGE_STATUS_PENDING,
    KnowledgeEntry,
    KnowledgeKind,
)
from orchestra.v1.result_service_pb2 import Result

MAX_CHARACTERS = 4000
RULE = "rule"
# Entries of each kind.
_MAX_ENTRIES = 50
_CUT = " [...]"
# What people call findings and lessons in a result, and the text of one that is an object.
_FINDINGS, _LESSONS = ("findings",), ("lessons", "lessons_learned")
_TEXTS = ("text", "description", "message", "summary", "title")


def learned_from(result: Result, rule: Sequence[str], now: Timestamp) -> list[KnowledgeEntry]:
    """Returns the entries of a result, with secrets masked. ``rule``: patterns of agent types whose entries are
    approved."""
    work = result.result
    extra = codec.struct_to_dict(work.extra)
    texts: dict[KnowledgeKind, Iterable[str]] = {
        KNOWLEDGE_KIND_DECISION: work.decisions,
        KNOWLEDGE_KIND_FINDING: (*work.errors, *work.warnings, *_given(extra, _FINDINGS)),
        KNOWLEDGE_KIND_LESSON: _given(extra, _LESSONS),
    }
    entries = [
        KnowledgeEntry(
            entry_id=ids.sortable("know"),
            project_id=result.project_id,
            issue_id=result.issue_id,
            kind=kind,
            text=remembered(text),
            created_by=result.agent_id,
            agent_type=result.agent_type,
            result_id=result.id,
            created_at=now,
        )
        for kind, given in texts.items()
        for text in islice((text for text in given if text.strip()), _MAX_ENTRIES)
    ]
    for entry in entries:
        decide(entry, rule, now)
    return entries


def decide(entry: KnowledgeEntry, rule: Sequence[str], now: Timestamp) -> None:
    """Approves an entry if the operator's rule does; others are pending. ``rule``: patterns of agent types."""
    if any(fnmatchcase(entry.agent_type, pattern) for pattern in rule):
        approve(entry, RULE, now)
    else:
        entry.status = KNOWLEDGE_STATUS_PENDING


def approve(entry: KnowledgeEntry, by: str, now: Timestamp) -> None:
    entry.status = KNOWLEDGE_STATUS_APPROVED
    entry.approved_by = by
    entry.approved_at.CopyFrom(now)


def remembered(text: str) -> str:
    """Returns what is kept of a text: without secrets, and cut where it is too long."""
    text = text.strip()
    shown, whole = masking.mask_beginning(text, MAX_CHARACTERS)
    return shown if whole else shown[: MAX_CHARACTERS - len(_CUT)] + _CUT


def _given(extra: dict[str, Any], names: Sequence[str]) -> Iterator[str]:
    """Yields the texts of a result's own keys: a text, or a list of texts or of objects with one."""
    for name in names:
        found = extra.get(name)
        for each in found if isinstance(found, list) else [found]:
            if isinstance(each, dict):
                each = next((each[key] for key in _TEXTS if isinstance(each.get(key), str)), None)
            if isinstance(each, str):
                yield each
