"""What both ways of building a context share: its sections, each within a limit in bytes of JSON, and its messages."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import islice

import orjson

from cco_sidecar.core.codec import to_json
from cco_sidecar.core.languages import language_of
from cco_sidecar.repository.encodings import UTF_8
from cco_sidecar.repository.file_cache import Text
from cco_sidecar.repository.masking import Finding
from cco_sidecar.repository.snapshot import Snapshot
from orchestra.v1.context_service_pb2 import (
    Context,
    Disposition,
    GetContextResponse,
    GitContext,
    ManifestEntry,
    MaskedSecret,
    PreviousAgentOutput,
    ProjectStructure,
    RelevantFile,
)
from orchestra.v1.knowledge_service_pb2 import KnowledgeEntry

# Commits of a context; architects get all that are known.
COMMITS = 20
COMMENTS = "comment_extraction"
_FILES_OF_SHORTENED = 10
# Masked secrets of a file that the manifest lists; all count.
_MASKED_OF_FILE = 50
# Commits beyond these are dropped before uncommitted changes.
_LEAST_COMMITS = 3
# Files of a commit where the history is longer than its share.
_FILES_OF_COMMIT = 10


def structure(snapshot: Snapshot, max_bytes: int, strategies: set[str]) -> ProjectStructure:
    """Lists directories, then files. What does not fit is left out, files deep in the tree first."""
    found = ProjectStructure(
        root=utf8(snapshot.root.name or "/"),
        total_files=len(snapshot.paths),
        total_size_bytes=sum(snapshot.files[path].size for path in snapshot.paths),
    )
    space = max_bytes
    for paths, out in ((tuple(snapshot.directories), found.directories), (snapshot.paths, found.files)):
        kept, space = _highest(paths, space)
        if len(kept) < len(paths):
            strategies.add("structure_sampling")
        out.extend(kept)
    return found


@lru_cache(maxsize=8)
def _highest(paths: tuple[str, ...], space: int) -> tuple[list[str], int]:
    """Returns the paths that fit, those deep in the tree last to be taken, and the bytes that are left."""
    kept = []
    for path in sorted(paths, key=_depth):
        if (size := json_bytes(path) + 1) > space:
            space = -1
            break
        space -= size
        kept.append(path)
    return [utf8(path) for path in (sorted(kept) if len(kept) < len(paths) else paths)], space


def history(git: GitContext, most: int, max_bytes: int, strategies: set[str]) -> GitContext:
    """Keeps the newest commits. If that is too much, drops files of commits, then commits, then uncommitted changes,
    which it counts."""
    found = GitContext()
    found.CopyFrom(git)
    if len(found.recent_commits) > most:
        found.older_commits = True
        del found.recent_commits[most:]
    for commit in found.recent_commits if len(to_json(found)) > max_bytes else ():
        if len(commit.files_changed) > _FILES_OF_COMMIT:
            strategies.add("history_sampling")
            del commit.files_changed[_FILES_OF_COMMIT:]
    while len(to_json(found)) > max_bytes and (found.recent_commits or found.uncommitted_changes):
        strategies.add("history_sampling")
        if len(found.recent_commits) > _LEAST_COMMITS or not found.uncommitted_changes:
            found.older_commits = True
            del found.recent_commits[len(found.recent_commits) // 2 :]
        elif len(found.uncommitted_changes) > len(found.recent_commits):
            drop_changes(found, len(found.uncommitted_changes) // 2)
        else:
            found.older_commits = True
            del found.recent_commits[-1]
    return found


def drop_changes(git: GitContext, kept: int) -> None:
    """Keeps the first uncommitted changes, and counts the others."""
    git.more_uncommitted_changes += len(git.uncommitted_changes) - kept
    del git.uncommitted_changes[kept:]


def outputs(given: Sequence[PreviousAgentOutput], max_bytes: int, strategies: set[str]) -> list[PreviousAgentOutput]:
    """Keeps the outputs that fit, in their order: first those that say what is wrong or what to do, then the newest. Of
    one that does not fit, artifacts and the list of files are left out."""
    space = max_bytes
    kept: dict[int, PreviousAgentOutput] = {}
    for number in sorted(range(len(given)), key=lambda number: (not _is_finding(given[number]), number)):
        output = given[number]
        for form in (output, _shortened(output)):
            size = len(to_json(form)) + 1
            if size <= space:
                space -= size
                kept[number] = form
                break
            strategies.add("output_sampling")
    return [kept[number] for number in sorted(kept)]


def knowledge(
    given: Sequence[KnowledgeEntry],
    shown: Sequence[PreviousAgentOutput],
    max_bytes: int,
    strategies: set[str],
) -> list[KnowledgeEntry]:
    """Keeps the entries that fit, in their order, but for those that ``shown`` says already."""
    known = {text for output in shown for text in (output.decision, *output.errors, *output.warnings)}
    space = max_bytes
    kept = []
    for entry in given:
        if entry.text in known:
            continue
        size = len(to_json(entry)) + 1
        if size > space:
            strategies.add("output_sampling")
            continue
        space -= size
        kept.append(entry)
    return kept


def set_knowledge(context: Context, entries: Sequence[KnowledgeEntry]) -> None:
    if entries:
        context.knowledge.values.extend(entries)


def _is_finding(output: PreviousAgentOutput) -> bool:
    return bool(output.errors or output.warnings or output.next_steps or output.artifacts)


def _shortened(output: PreviousAgentOutput) -> PreviousAgentOutput:
    short = PreviousAgentOutput()
    short.CopyFrom(output)
    short.artifacts.clear()
    del short.files_affected[_FILES_OF_SHORTENED:]
    return short


def relevant_file(path: str, content: str, text: Text) -> RelevantFile:
    """Returns a file of a context. ``content``: what is shown of ``text``."""
    return RelevantFile(
        path=utf8(path),
        content=content,
        last_modified=text.stat.modified,
        size=text.stat.size,
        language=language_of(path),
        checksum=text.checksum,
        encoding=None if text.encoding == UTF_8 else text.encoding,
    )


def entry(file: RelevantFile, masked: Iterable[Finding], disposition: Disposition, reason: str) -> ManifestEntry:
    """Returns the manifest's entry for a file of the context. ``masked``: what is masked in it, of which the first are
    listed."""
    return ManifestEntry(
        path=file.path,
        disposition=disposition,
        reason=reason,
        bytes=len(file.content.encode()),
        files=1,
        masked_secrets=masked_secrets(islice(masked, _MASKED_OF_FILE)),
    )


def masked_secrets(findings: Iterable[Finding]) -> list[MaskedSecret]:
    return [MaskedSecret(line=line, rule=rule) for line, rule in findings]


def complete(response: GetContextResponse, strategies: set[str]) -> GetContextResponse:
    """Fills in what follows from the context and from what was shortened."""
    wire = response.context.SerializeToString(deterministic=True)
    response.manifest.checksum = f"sha256:{hashlib.sha256(wire).hexdigest()}"
    # To take only comments is a choice; it is named where other things did not fit.
    response.truncated = bool(strategies - {COMMENTS})
    response.truncation_strategy = strategy(strategies) if response.truncated else "none"
    response.total_size_bytes = len(wire)
    response.file_count = len(response.context.relevant_files)
    return response


def strategy(strategies: set[str]) -> str:
    """Returns the one name for what was done."""
    return "smart" if len(strategies) > 1 else next(iter(strategies), "none")


@lru_cache(maxsize=100_000)
def kind(path: str) -> str:
    """Returns the kind of a file, such as ``*.py``; its name if it has no suffix."""
    name = path.rpartition("/")[2]
    stem, dot, suffix = name.rpartition(".")
    return f"*.{suffix}" if dot and stem and suffix else name


def json_bytes(text: str) -> int:
    """Returns what a text takes as a JSON string, in bytes."""
    return len(orjson.dumps(utf8(text)))


def utf8(path: str) -> str:
    """Decodes a file name, which is bytes; what is not UTF-8 becomes replacement characters."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _depth(path: str) -> int:
    return path.count("/")
