"""Builds a context within a budget: what matters most for the task, in excerpts of files."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence

import orjson

from cco_sidecar.core.agent_types import AgentType
from cco_sidecar.core.codec import to_json
from cco_sidecar.core.lru import ByteLru
from cco_sidecar.ranking import cutting, relevance
from cco_sidecar.ranking.chunks import Chunked
from cco_sidecar.ranking.past import Change
from cco_sidecar.ranking.relevance import Piece
from cco_sidecar.ranking.selection import Choice
from cco_sidecar.repository.file_cache import FileCache
from cco_sidecar.repository.history import FULL_HISTORY
from cco_sidecar.repository.snapshot import Snapshot
from cco_sidecar.services.context import sections
from orchestra.v1.context_service_pb2 import (
    DISPOSITION_CUT,
    DISPOSITION_INCLUDED,
    DISPOSITION_LEFT_OUT,
    Context,
    GetContextResponse,
    Manifest,
    ManifestEntry,
    Metadata,
    PreviousAgentOutput,
)

# Shares of the budget for what is not files, at most.
_STRUCTURE, _HISTORY, _OUTPUTS, _METADATA = 0.05, 0.03, 0.15, 0.02
# Kinds of files that the manifest names, at most and per byte of the budget; the rest is one entry a reason.
_KINDS, _KIND_BYTES, _KIND_CHARACTERS = 30, 1500, 40
# What a response has beside its parts, and a file and its manifest entry beside text and twice the path, in bytes.
_RESPONSE_BYTES, _FILE_BYTES = 700, 440
# What earlier agents touched, what the task names, and uncommitted work, as shares of the best file's score.
_NAMED, _DECIDED, _CHANGED = 1.0, 0.4, 0.2
# Larger files are rarely written by people.
_MAX_FILE_BYTES = 1024 * 1024
# Of a repository with more text, the smaller files are read.
_MAX_CANDIDATE_BYTES = 128 * 2**20
# What a file that was split takes in memory beside its text, on average.
_CHUNKED_BYTES = 2048
_LESS_RELEVANT = "less_relevant"


def build_focused(
    snapshot: Snapshot,
    choices: Sequence[Choice],
    outputs: Sequence[PreviousAgentOutput],
    texts: FileCache,
    chunks: ByteLru[Hashable, Chunked],
    *,
    issue: str,
    agent: AgentType,
    task: str,
    architect: bool,
    max_bytes: int,
) -> GetContextResponse:
    """Returns a response whose JSON, and so its serialised form too, has at most ``max_bytes``.

    It has no ``timestamp`` and ``cache_hit``. Equal arguments produce equal bytes. ``chunks`` caches how files are
    split.
    """
    strategies: set[str] = set()
    response = GetContextResponse(issue_id=issue, agent_type=agent.type, manifest=Manifest(), truncated=True)
    context = Context(
        project_structure=sections.structure(snapshot, int(max_bytes * _STRUCTURE), strategies),
        git_context=sections.history(
            snapshot.git, FULL_HISTORY if architect else sections.COMMITS, int(max_bytes * _HISTORY), strategies
        ),
        previous_agent_outputs=sections.outputs(outputs, int(max_bytes * _OUTPUTS), strategies),
        metadata=_metadata(snapshot.metadata, int(max_bytes * _METADATA)),
    )
    response.context.CopyFrom(context)
    files, problems = _candidates(snapshot, texts, chunks)
    _leave_out_the_rest(response.manifest, snapshot, problems, set(), max_bytes)
    space = max_bytes - _json_bytes(response) - _RESPONSE_BYTES
    pieces = _ranked(files, task, snapshot, choices, max_bytes)
    excerpts, complete = cutting.choose(
        pieces, files, max_bytes=space, cost=_escaped_bytes, overhead=lambda path: _FILE_BYTES + 2 * _escaped(path)
    )
    reasons = {choice.path: choice.reason for choice in choices}
    while True:
        _fill(response, context, snapshot, texts, files, problems, excerpts, reasons, max_bytes)
        if _json_bytes(response) + _RESPONSE_BYTES // 2 <= max_bytes:
            break
        # Masking made a text longer than it was, or the budget is smaller than the rest.
        complete = False
        if excerpts:
            excerpts.pop()
        elif not _drop_a_section(context, strategies):
            break
    if not complete:
        strategies.add("semantic_chunking")
    return sections.complete(response, strategies)


def _candidates(
    snapshot: Snapshot, texts: FileCache, chunks: ByteLru[Hashable, Chunked]
) -> tuple[dict[str, Chunked], dict[str, str]]:
    """Returns the files that can be chosen from, and why the others cannot."""
    files, problems = {}, {}
    space = _MAX_CANDIDATE_BYTES
    for path, info in sorted(snapshot.files.items(), key=lambda item: (item[1].size, item[0])):
        space -= info.size
        if info.size > _MAX_FILE_BYTES or space < 0:
            problems[path] = "too_large"
            continue
        key = (snapshot.root, path, info)
        known = chunks.get(key)
        if known is None:
            raw = texts.raw(snapshot.root, path, info)
            if raw.problem:
                problems[path] = raw.problem
                continue
            known = Chunked(path, raw.data)
            if raw.stat == info:
                chunks.put(key, known, len(raw.data) + _CHUNKED_BYTES)
        files[path] = known
    return files, problems


def _ranked(
    files: dict[str, Chunked], task: str, snapshot: Snapshot, choices: Sequence[Choice], max_bytes: int
) -> list[Piece]:
    """Ranks by the task; without one, in the documented order of priority."""
    if not task.strip():
        return _in_order([choice.path for choice in choices if choice.path in files], files)
    changes = [Change(commit.message, commit.files_changed) for commit in snapshot.git.recent_commits]
    prior: dict[str, float] = {change.path: _CHANGED for change in snapshot.git.uncommitted_changes}
    for choice in choices:
        if choice.reason in ("named_by_task", "named_by_decision"):
            prior[choice.path] = _NAMED if choice.reason == "named_by_task" else _DECIDED
    own = {choice.path for choice in choices if not choice.comments}
    foreign = {path for path in files if path not in own}
    return relevance.rank(files, task, changes, max_bytes=max_bytes, prior=prior, foreign=foreign)


def _in_order(paths: Sequence[str], files: dict[str, Chunked]) -> list[Piece]:
    """Ranks the beginnings of all files before the rest of any."""
    pieces = []
    for number, path in enumerate(paths):
        place = number / (len(paths) + 1) / 4
        pieces += [Piece((0.75 if chunk else 1.0) - place, path, chunk) for chunk in range(len(files[path].chunks))]
    return sorted(pieces, key=lambda piece: (-piece.score, piece.path, piece.chunk))


def _drop_a_section(context: Context, strategies: set[str]) -> bool:
    """Empties the next section, for a budget that is too small for it. Returns False if all are empty."""
    structure, git = context.project_structure, context.git_context
    if structure.files or structure.directories:
        strategies.add("structure_sampling")
        del structure.files[:], structure.directories[:]
    elif context.previous_agent_outputs:
        strategies.add("output_sampling")
        del context.previous_agent_outputs[:]
    elif git.recent_commits or git.uncommitted_changes:
        strategies.add("history_sampling")
        del git.recent_commits[:], git.uncommitted_changes[:]
    elif context.metadata.ByteSize() or git.ByteSize():
        strategies.add("history_sampling")
        context.metadata.Clear()
        git.Clear()
    else:
        return False
    return True


def _fill(
    response: GetContextResponse,
    context: Context,
    snapshot: Snapshot,
    texts: FileCache,
    files: dict[str, Chunked],
    problems: dict[str, str],
    excerpts: Sequence[cutting.Excerpt],
    reasons: dict[str, str],
    max_bytes: int,
) -> None:
    response.context.CopyFrom(context)
    response.manifest.Clear()
    for excerpt in excerpts:
        path = excerpt.path
        text = texts.read(snapshot.root, path, snapshot.files[path])
        count = max(1, files[path].line_count)
        whole = len(excerpt.parts) == 1 and excerpt.parts[0] == (0, count)
        content = text.content if whole else cutting.shown(text.content, excerpt.parts, count)
        file = sections.relevant_file(path, content, text)
        response.context.relevant_files.append(file)
        disposition = DISPOSITION_INCLUDED if whole else DISPOSITION_CUT
        response.manifest.entries.append(sections.entry(file, text, disposition, reasons.get(path, "relevant")))
        response.manifest.files_included += 1
        response.manifest.files_cut += not whole
        response.manifest.secrets_masked += len(text.masked)
    _leave_out_the_rest(response.manifest, snapshot, problems, {excerpt.path for excerpt in excerpts}, max_bytes)


def _leave_out_the_rest(
    manifest: Manifest, snapshot: Snapshot, problems: dict[str, str], chosen: Collection[str], max_bytes: int
) -> None:
    """Adds what is not in the context, by kind and reason."""
    left: dict[tuple[str, str], list[int]] = {}
    for path, reason, size in snapshot.barred:
        left.setdefault((reason, _kind(path)), []).append(size)
    for path, info in snapshot.files.items():
        if path not in chosen:
            left.setdefault((problems.get(path, _LESS_RELEVANT), _kind(path)), []).append(info.size)
    most = sorted(left, key=lambda key: (-len(left[key]), key))
    for key in most[min(_KINDS, max_bytes // _KIND_BYTES) :]:
        left.setdefault((key[0], "*"), []).extend(left.pop(key))
    for (reason, kind), sizes in sorted(left.items()):
        manifest.files_left_out += len(sizes)
        entry = ManifestEntry(
            path=sections.utf8(kind),
            disposition=DISPOSITION_LEFT_OUT,
            reason=reason,
            bytes=sum(sizes),
            files=len(sizes),
        )
        manifest.entries.append(entry)


def _kind(path: str) -> str:
    return sections.kind(path)[:_KIND_CHARACTERS]


def _metadata(known: Metadata, max_bytes: int) -> Metadata:
    found = Metadata()
    found.CopyFrom(known)
    while found.dependencies and found.ByteSize() > max_bytes:
        del found.dependencies[len(found.dependencies) // 2 :]
    return found


def _json_bytes(response: GetContextResponse) -> int:
    return len(to_json(response))


def _escaped(text: str) -> int:
    return len(orjson.dumps(sections.utf8(text)))


def _escaped_bytes(data: bytes) -> int:
    """Returns how much of a JSON string a text takes."""
    return len(orjson.dumps(data.decode("utf-8", "replace"))) + len(cutting.gap(10**6, 10**7))
