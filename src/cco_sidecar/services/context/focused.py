"""Builds a context within a budget: what matters most for the task, in excerpts of files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import orjson

from cco_sidecar.core.agent_types import AgentType
from cco_sidecar.core.codec import to_json
from cco_sidecar.core.reasons import Reason, Signal
from cco_sidecar.ranking import cutting
from cco_sidecar.ranking.chunks import Chunked, Lines, lines_in
from cco_sidecar.ranking.cutting import Excerpt
from cco_sidecar.repository.file_cache import Text
from cco_sidecar.repository.history import FULL_HISTORY
from cco_sidecar.repository.snapshot import FileStat, Snapshot
from cco_sidecar.services.context import sections
from cco_sidecar.services.context.documents import Texts
from cco_sidecar.services.context.left_out import LeftOut
from cco_sidecar.services.context.parts import Parts
from cco_sidecar.services.context.plan import Plan
from orchestra.v1.context_service_pb2 import (
    DISPOSITION_CUT,
    DISPOSITION_INCLUDED,
    Context,
    GetContextResponse,
    Manifest,
    Metadata,
)

# Shares of the budget for what is not files, at most.
_STRUCTURE, _HISTORY, _OUTPUTS, _METADATA, _KNOWLEDGE = 0.02, 0.02, 0.25, 0.02, 0.05
# What the history may take in a small budget, in bytes, up to a larger share.
_LEAST_HISTORY_BYTES, _LARGEST_HISTORY = 1_000, 0.08
# What a response has beside its parts, in bytes.
_RESPONSE_BYTES = 380
_CHECKSUM = f"sha256:{'0' * 64}"
# Signals that are reasons by themselves, the best first.
_REASONS = (Signal.NAMED_BY_TASK, Signal.NAMED_BY_FINDING, Signal.REQUIRED, Signal.NAMED_BY_DECISION)
_ATTEMPTS = 4
# What a line end takes in a JSON string beside one byte.
_ESCAPED_LINE_END = 1


class Focused(NamedTuple):
    """``response`` has no ``timestamp`` and ``cache_hit``; ``excerpts``: what it shows of files."""

    response: GetContextResponse
    plan: Plan
    excerpts: list[Excerpt]
    reasons: dict[str, str]


def build_focused(parts: Parts, plan: Plan, *, issue: str, agent: AgentType, max_bytes: int) -> Focused:
    """Returns a response whose JSON, and so its serialised form too, has at most ``max_bytes``.

    Equal arguments produce equal bytes.
    """
    strategies: set[str] = set()
    snapshot = parts.snapshot
    response = GetContextResponse(issue_id=issue, agent_type=agent.type, manifest=Manifest(), truncated=True)
    context = Context(
        project_structure=sections.structure(snapshot, int(max_bytes * _STRUCTURE), strategies),
        git_context=sections.history(
            snapshot.git, FULL_HISTORY if agent.architect else sections.COMMITS, _of_history(max_bytes), strategies
        ),
        previous_agent_outputs=sections.outputs(parts.outputs, int(max_bytes * _OUTPUTS), strategies),
        metadata=_metadata(snapshot.metadata, int(max_bytes * _METADATA)),
    )
    space = int(max_bytes * _KNOWLEDGE)
    learned = sections.knowledge(parts.knowledge, context.previous_agent_outputs, space, strategies)
    sections.set_knowledge(context, learned)
    response.context.CopyFrom(context)
    shares = plan.shares()
    left_out = LeftOut(snapshot, plan.problems, shares, max_bytes)
    left_out.add(response.manifest, ())
    reasons = _reasons(plan, parts)
    filler = _Filler(response, snapshot, parts.texts, plan, shares, reasons, left_out)
    chosen = _fill(filler, context, plan, _Costs(snapshot, reasons, shares), max_bytes)
    complete = chosen.complete
    while not filler.fits(max_bytes):
        # The budget is smaller than the rest.
        complete = False
        if chosen.excerpts:
            chosen.excerpts.pop()
        elif not _drop_a_section(context, strategies):
            break
        filler.fill(context, chosen.excerpts)
    if not complete:
        strategies.add("semantic_chunking")
    return Focused(sections.complete(response, strategies), plan, chosen.excerpts, reasons)


def _fill(filler: _Filler, context: Context, plan: Plan, costs: _Costs, max_bytes: int) -> cutting.Chosen:
    """Chooses what fits, and fills it in."""
    space = filler.left(max_bytes)
    for _ in range(_ATTEMPTS):
        chosen = cutting.choose(
            plan.pieces, plan.files, max_bytes=space, costs=costs, first=plan.first, fills=plan.fills
        )
        filler.fill(context, chosen.excerpts)
        left = filler.left(max_bytes)
        if left >= 0:
            break
        # The map of the rest takes more or less, depending on what is chosen.
        space += left
    return chosen


class _Costs:
    """What files and their lines take in a response, in bytes; each is counted once."""

    def __init__(self, snapshot: Snapshot, reasons: Mapping[str, str], shares: Mapping[str, float]) -> None:
        self._files = snapshot.files
        self._reasons = reasons
        self._shares = shares
        self._of_files: dict[str, int] = {}
        self._of_lines: dict[tuple[str, Lines], int] = {}

    def of_file(self, path: str) -> int:
        """Returns what a file takes beside its text."""
        if path not in self._of_files:
            reason = self._reasons.get(path, Reason.RELEVANT)
            self._of_files[path] = _overhead(path, self._files[path], reason, self._shares.get(path))
        return self._of_files[path]

    def of_lines(self, file: Chunked, lines: Lines) -> int:
        key = (file.path, lines)
        if key not in self._of_lines:
            self._of_lines[key] = _escaped_bytes(file.data[file.offset(lines.start) : file.offset(lines.end)])
        return self._of_lines[key]

    def of_gap(self, start: int, end: int) -> int:
        return len(cutting.gap(start, end)) + _ESCAPED_LINE_END


class _Filler:
    """Fills in the files and the manifest of a response."""

    def __init__(
        self,
        response: GetContextResponse,
        snapshot: Snapshot,
        texts: Texts,
        plan: Plan,
        shares: dict[str, float],
        reasons: dict[str, str],
        left_out: LeftOut,
    ) -> None:
        self._response = response
        self._snapshot = snapshot
        self._texts = texts
        self._plan = plan
        self._shares = shares
        self._reasons = reasons
        self._left_out = left_out
        self._bytes = _json_bytes(response)

    def fill(self, context: Context, excerpts: Sequence[Excerpt]) -> None:
        """Replaces what the response has by ``context`` and excerpts of files."""
        self._response.context.CopyFrom(context)
        manifest = self._response.manifest
        manifest.Clear()
        self._left_out.add(manifest, {excerpt.path for excerpt in excerpts if self._add(excerpt)})
        self._bytes = _json_bytes(self._response)

    def left(self, max_bytes: int) -> int:
        """Returns how many bytes of a budget are left."""
        return max_bytes - _RESPONSE_BYTES - self._bytes

    def fits(self, max_bytes: int) -> bool:
        return self.left(max_bytes) >= 0

    def _add(self, excerpt: Excerpt) -> bool:
        """Adds a file; False if it cannot be read any more."""
        path = excerpt.path
        text = self._texts.read(self._snapshot.root, path, self._snapshot.files[path])
        # The file may have changed since it was split; its lines are those of now.
        count = lines_in(text.content)
        parts = [Lines(part.start, min(part.end, count)) for part in excerpt.parts if part.start < count]
        if text.problem or not parts:
            return False
        whole = parts == [(0, count)]
        file = sections.relevant_file(path, text.content if whole else cutting.shown(text.content, parts, count), text)
        masked = [each for each in text.masked if any(part.start < each.line <= part.end for part in parts)]
        entry = sections.entry(
            file, masked, DISPOSITION_INCLUDED if whole else DISPOSITION_CUT, self._reasons.get(path, Reason.RELEVANT)
        )
        if path in self._shares:
            entry.score = self._shares[path]
        self._response.context.relevant_files.append(file)
        manifest = self._response.manifest
        manifest.entries.append(entry)
        manifest.files_included += 1
        manifest.files_cut += not whole
        manifest.secrets_masked += len(masked)
        return True


def _of_history(max_bytes: int) -> int:
    return int(max(max_bytes * _HISTORY, min(_LEAST_HISTORY_BYTES, max_bytes * _LARGEST_HISTORY)))


def _drop_a_section(context: Context, strategies: set[str]) -> bool:
    """Empties the next section, for a budget that is too small for it. Returns False if all are empty."""
    structure, git = context.project_structure, context.git_context
    if structure.files or structure.directories:
        strategies.add("structure_sampling")
        del structure.files[:], structure.directories[:]
    elif context.HasField("knowledge"):
        strategies.add("output_sampling")
        context.ClearField("knowledge")
    elif context.previous_agent_outputs:
        strategies.add("output_sampling")
        del context.previous_agent_outputs[:]
    elif git.recent_commits or git.uncommitted_changes:
        strategies.add("history_sampling")
        del git.recent_commits[:]
        sections.drop_changes(git, 0)
    elif context.metadata.ByteSize() or git.ByteSize():
        strategies.add("history_sampling")
        context.metadata.Clear()
        git.Clear()
    else:
        return False
    return True


def _metadata(known: Metadata, max_bytes: int) -> Metadata:
    found = Metadata()
    found.CopyFrom(known)
    while found.dependencies and found.ByteSize() > max_bytes:
        del found.dependencies[len(found.dependencies) // 2 :]
    return found


def _json_bytes(response: GetContextResponse) -> int:
    return len(to_json(response))


def _reasons(plan: Plan, parts: Parts) -> dict[str, str]:
    """Returns why each file is there, if it is not only relevant."""
    if plan.ranking is None:
        reasons = {choice.path: choice.reason for choice in parts.choices}
    else:
        reasons = {
            path: name
            for name in reversed(_REASONS)
            for path in plan.ranking.signals.get(name, ())
            if path in plan.files
        }
    always = (piece.path for piece in plan.first if piece.path not in parts.snapshot.added)
    return reasons | dict.fromkeys(always, Reason.ALWAYS)


def _overhead(path: str, info: FileStat, reason: str, share: float | None) -> int:
    """Returns what a file and its manifest entry take as JSON beside the text, in bytes."""
    text = Text("", _CHECKSUM, (), info)
    file = sections.relevant_file(path, "", text)
    entry = sections.entry(file, (), DISPOSITION_INCLUDED, reason)
    entry.bytes = info.size
    if share is not None:
        entry.score = share
    return len(to_json(file)) + len(to_json(entry)) + 2


def _escaped_bytes(data: bytes) -> int:
    """Returns how much of a JSON string a text takes."""
    return len(orjson.dumps(data.decode("utf-8", "replace"))) - len('""')
