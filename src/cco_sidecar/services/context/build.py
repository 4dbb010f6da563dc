"""Builds a context: first the fixed sections, then files in priority order up to the size limit."""

from __future__ import annotations

from collections.abc import Sequence

from cco_sidecar.core.agent_types import AgentType
from cco_sidecar.core.encoded import varint
from cco_sidecar.core.languages import language_of
from cco_sidecar.core.reasons import Reason
from cco_sidecar.ranking.comments import comments_of
from cco_sidecar.ranking.selection import Choice
from cco_sidecar.repository.file_cache import Text
from cco_sidecar.repository.history import FULL_HISTORY
from cco_sidecar.repository.snapshot import Snapshot
from cco_sidecar.services.context import sections
from cco_sidecar.services.context.documents import Texts
from cco_sidecar.services.context.parts import Parts
from orchestra.v1.context_service_pb2 import (
    DISPOSITION_CUT,
    DISPOSITION_INCLUDED,
    DISPOSITION_LEFT_OUT,
    Context,
    GetContextResponse,
    Manifest,
    ManifestEntry,
    RelevantFile,
)

LIMIT_BYTES = 10 * 2**20
# Shares of the limit for the sections other than files.
_STRUCTURE_BYTES = 2 * 2**20
_HISTORY_BYTES = 1 * 2**20
_OUTPUTS_BYTES = 2 * 2**20
_KNOWLEDGE_BYTES = 128 * 1024
# The most that one file may take: if all files fit, and if they do not.
_FILE_BYTES = 1024 * 1024
_CROWDED_FILE_BYTES = 256 * 1024
_LEAST_SAMPLE_BYTES = 4 * 1024
_NAMED_BARRED = 1000


def build(parts: Parts, *, issue: str, agent: AgentType) -> GetContextResponse:
    """Returns the response without ``timestamp`` and ``cache_hit``. Equal arguments produce equal bytes.

    Sizes are in bytes; the context is at most LIMIT_BYTES.
    """
    strategies: set[str] = set()
    snapshot, choices = parts.snapshot, parts.choices
    context = Context(
        project_structure=sections.structure(snapshot, _STRUCTURE_BYTES, strategies),
        git_context=sections.history(
            snapshot.git, FULL_HISTORY if agent.architect else sections.COMMITS, _HISTORY_BYTES, strategies
        ),
        previous_agent_outputs=sections.outputs(parts.outputs, _OUTPUTS_BYTES, strategies),
        metadata=snapshot.metadata,
    )
    learned = sections.knowledge(parts.knowledge, context.previous_agent_outputs, _KNOWLEDGE_BYTES, strategies)
    sections.set_knowledge(context, learned)
    files = _Files(snapshot, parts.texts, LIMIT_BYTES - context.ByteSize(), strategies)
    files.add_all(choices)
    context.relevant_files.extend(files.included)
    files.account_for_the_rest({choice.path for choice in choices})
    response = GetContextResponse(issue_id=issue, agent_type=agent.type, context=context, manifest=files.manifest)
    return sections.complete(response, files.strategies)


class _Files:
    """Adds files as long as they fit, and records all decisions in the manifest."""

    def __init__(self, snapshot: Snapshot, texts: Texts, space: int, strategies: set[str]) -> None:
        self._snapshot = snapshot
        self._texts = texts
        self._space = space
        self.included: list[RelevantFile] = []
        self.manifest = Manifest()
        self.strategies = strategies

    def add_all(self, choices: Sequence[Choice]) -> None:
        sizes = (min(self._snapshot.files[choice.path].size, _FILE_BYTES) for choice in choices)
        crowded = sum(sizes) > self._space
        most = _CROWDED_FILE_BYTES if crowded else _FILE_BYTES
        for choice in choices:
            self._add(choice, most)

    def _add(self, choice: Choice, most: int) -> None:
        info = self._snapshot.files[choice.path]
        text = self._texts.read(self._snapshot.root, choice.path, info)
        if text.problem:
            self._leave_out(choice.path, text.problem, text.stat.size)
            return
        content, strategy, reason = text.content, "", choice.reason
        if choice.comments:
            comments = comments_of(content, language_of(choice.path))
            if comments is None:
                self._leave_out(choice.path, Reason.NO_COMMENTS, text.stat.size)
                return
            content, strategy, reason = comments, sections.COMMENTS, Reason.COMMENTS_ONLY
        overhead = len(choice.path) + 160
        allowed = min(most, self._space - overhead)
        if len(content) > allowed or len(content.encode()) > allowed:
            if allowed < _LEAST_SAMPLE_BYTES:
                self.strategies.add("priority_selection")
                self._leave_out(choice.path, Reason.NO_ROOM, text.stat.size)
                return
            content, strategy = _sample(content, allowed), "file_sampling"
            reason = f"{reason}, sampled"
        self._include(choice.path, content, text, reason, strategy)

    def _include(self, path: str, content: str, text: Text, reason: str, strategy: str) -> None:
        file = sections.relevant_file(path, content, text)
        size = file.ByteSize()
        self._space -= size + 1 + len(varint(size))
        self.included.append(file)
        self.manifest.secrets_masked += len(text.masked)
        if strategy:
            self.strategies.add(strategy)
            self.manifest.files_cut += 1
        self.manifest.files_included += 1
        disposition = DISPOSITION_CUT if strategy else DISPOSITION_INCLUDED
        self.manifest.entries.append(sections.entry(file, text.masked, disposition, reason))

    def _leave_out(self, path: str, reason: str, size: int, files: int = 1) -> None:
        self.manifest.files_left_out += files
        entry = ManifestEntry(
            path=sections.utf8(path), disposition=DISPOSITION_LEFT_OUT, reason=reason, bytes=size, files=files
        )
        self.manifest.entries.append(entry)

    def account_for_the_rest(self, chosen: set[str]) -> None:
        """Adds the files that were not chosen to the manifest: excluded files by name unless there are too many, files
        that this agent does not need by kind."""
        barred: dict[tuple[str, str], list[int]] = {}
        for path, reason, size in self._snapshot.barred:
            if len(self._snapshot.barred) <= _NAMED_BARRED:
                self._leave_out(path, reason, size)
            else:
                barred.setdefault((sections.kind(path), reason), []).append(size)
        for path, info in self._snapshot.files.items():
            if path not in chosen:
                reason = Reason.EXCLUDED if self._snapshot.rules.is_excluded(path) else Reason.NOT_FOR_THIS_AGENT
                barred.setdefault((sections.kind(path), reason), []).append(info.size)
        for (kind, reason), sizes in sorted(barred.items()):
            self._leave_out(kind, reason, sum(sizes), len(sizes))


def _sample(content: str, allowed: int) -> str:
    """Keeps the head and the tail, cut at line ends, and marks the cut."""
    data = content.encode()
    space = allowed - 80
    head = data[: space * 2 // 3]
    tail = data[len(data) - space // 3 :]
    head = head[: head.rfind(b"\n") + 1] or head
    tail = tail[tail.find(b"\n") + 1 :] or tail
    left_out = len(data) - len(head) - len(tail)
    mark = f"\n[... {left_out} bytes left out here ...]\n"
    return head.decode(errors="ignore") + mark + tail.decode(errors="ignore")
