"""What other agents did and decided, from their results and from events that contain a decision."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any, NamedTuple

from cco_sidecar.bus.base import EventBus
from cco_sidecar.bus.entry import Entry, text_of
from cco_sidecar.core import codec
from cco_sidecar.core.clock import micros_of
from cco_sidecar.core.keyed_semaphore import KeyedSemaphore
from cco_sidecar.core.lru import ByteLru
from cco_sidecar.core.principal import OPERATOR
from cco_sidecar.repository import masking
from cco_sidecar.storage.base import ResultStore
from orchestra.v1.context_service_pb2 import PreviousAgentOutput
from orchestra.v1.event_service_pb2 import Event
from orchestra.v1.result_service_pb2 import AgentResult, FileEntry, Result, ResultStatus

_MAX_RESULTS = 200
_MAX_RESULT_BYTES = 8 * 2**20
_MAX_EVENTS = 200
_READ_AT_ONCE = 1000
# Files per output; a decision that names more is not specific to any of them.
_MAX_FILES = 500
# Decisions of one result.
_MAX_DECISIONS = 100
_MAX_FILES_OF_ALL = 5_000
_MAX_OUTPUT_BYTES = 4 * 2**20
# Findings of one result: entries of each list, artifacts, and characters of each text.
_MAX_FINDINGS = 50
_MAX_ARTIFACTS = 10
_MAX_CHARACTERS = 4_000
_REMEMBERED_BYTES = 64 * 2**20

# Decisions of architects on other issues: how many are shown, and in how many of their results they are looked for.
_MAX_ELSEWHERE = 10
_RESULTS_ELSEWHERE = 30


class Basis(NamedTuple):
    """Identifies what outputs are made from: the version of the issue's results, the sequence numbers of its decisions,
    and the same of decisions on other issues, with the ids of the results."""

    version: int
    decisions: tuple[int, ...]
    results_elsewhere: tuple[str, ...] = ()
    decisions_elsewhere: tuple[int, ...] = ()


class Elsewhere(NamedTuple):
    """What architects decided on other issues: serialised results and events, newest first."""

    results: Sequence[bytes] = ()
    decisions: Sequence[bytes] = ()


NOTHING_ELSEWHERE = Elsewhere()


# Converts a project's serialised results, serialised events with a decision, and those of other issues to serialised
# outputs. True: they are of several issues.
Merge = Callable[[str, Sequence[bytes], Sequence[bytes], Elsewhere, bool], Awaitable[list[bytes]]]


class PreviousOutputs:
    """Caches the outputs of issues, and rebuilds them only when a result or a decision was added."""

    def __init__(self, store: ResultStore, bus: EventBus, merge: Merge, architects: Sequence[str]) -> None:
        """``architects``: the agent types whose decisions other issues get; empty for none."""
        self._store = store
        self._bus = bus
        self._merge = merge
        self._architects = frozenset(architects)
        self._decisions: dict[str, _Decisions] = {}
        # Of each project: the version of its results, and what architects decided then.
        self._decided: dict[str, tuple[int, list[Result]]] = {}
        self._known = ByteLru[tuple[str, str], tuple[Basis, list[bytes]]](_REMEMBERED_BYTES)
        self._making = KeyedSemaphore[tuple[str, str]]()

    async def of(self, project: str, issue: str) -> tuple[Basis, list[bytes]]:
        """Returns the serialised outputs, newest first, of one issue, or of the whole project if ``issue`` is empty.
        Raises SidecarError."""
        decisions = self._decisions.setdefault(project, _Decisions())
        entries = await decisions.update(self._bus, project, issue)
        results, others = [], []
        if issue and self._architects:
            results = [each for each in await self._decided_in(project) if each.issue_id != issue]
            others = decisions.of_others(issue, self._architects)
        basis = Basis(
            await self._store.version(project, issue),
            tuple(entry.seq for entry in entries),
            tuple(each.id for each in results),
            tuple(entry.seq for entry in others),
        )
        known = self._known.get((project, issue))
        if known is not None and known[0] == basis:
            return known
        async with self._making.hold((project, issue)):
            # Another caller may have built it while this one waited.
            known = self._known.get((project, issue))
            if known is not None and known[0] == basis:
                return known
            elsewhere = Elsewhere([each.SerializeToString() for each in results], [_event_of(each) for each in others])
            return await self._make(project, issue, basis, entries, elsewhere)

    async def _decided_in(self, project: str) -> list[Result]:
        """Returns the newest results of architects that have decisions."""
        version = await self._store.version(project, "")
        known = self._decided.get(project)
        if known is not None and known[0] == version:
            return known[1]
        found: list[Result] = []
        for agent_type in sorted(self._architects):
            page = await self._store.page(project, agent_type=agent_type, limit=_RESULTS_ELSEWHERE)
            found += [stored.result for stored in page if stored.result.result.decisions]
        found.sort(key=lambda result: micros_of(result.timestamp), reverse=True)
        self._decided[project] = (version, found)
        return found

    async def _results(self, project: str, issue: str) -> list[bytes]:
        """Returns the newest serialised results, page by page, limited in number and size."""
        found: list[bytes] = []
        before: int | None = None
        size = 0
        while len(found) < _MAX_RESULTS and size < _MAX_RESULT_BYTES:
            page = await self._store.page(project, issue=issue, before=before, limit=_MAX_RESULTS - len(found))
            if not page:
                break
            bodies = [stored.result.SerializeToString() for stored in page]
            found += bodies
            size += sum(map(len, bodies))
            before = page[-1].number
        return found

    async def _make(
        self, project: str, issue: str, basis: Basis, entries: list[Entry], elsewhere: Elsewhere
    ) -> tuple[Basis, list[bytes]]:
        results = await self._results(project, issue)
        # Run in the worker: agents control this input, and all of it is searched for secrets.
        outputs = await self._merge(project, results, list(map(_event_of, entries)), elsewhere, not issue)
        self._known.put((project, issue), (basis, outputs), 256 + sum(map(len, outputs)))
        return basis, outputs


def _event_of(entry: Entry) -> bytes:
    return entry.frame[entry.payload_at :]


def merged(
    results: Sequence[bytes],
    decisions: Sequence[bytes],
    elsewhere: Elsewhere = NOTHING_ELSEWHERE,
    several: bool = False,
) -> list[PreviousAgentOutput]:
    """Returns the outputs, newest first, with secrets masked, and after them decisions on other issues. ``several``:
    the outputs are of several issues and say which."""
    outputs: list[PreviousAgentOutput] = []
    size = 0
    for result in results:
        made = _of_result(Result.FromString(result), say_issue=several)
        size += sum(output.ByteSize() for output in made)
        if outputs and size > _MAX_OUTPUT_BYTES:
            # A few kilobytes of a result can become megabytes of outputs, because each output repeats the files.
            break
        outputs += made
    outputs += [_of_event(Event.FromString(decision), say_issue=several) for decision in decisions]
    return [*_newest_first(outputs), *_decided_elsewhere(elsewhere)]


def _decided_elsewhere(elsewhere: Elsewhere) -> list[PreviousAgentOutput]:
    decided: list[PreviousAgentOutput] = []
    for result in elsewhere.results:
        if len(decided) >= _MAX_ELSEWHERE:
            break
        decided += _of_result(Result.FromString(result), say_issue=True, findings=False)
    events = [_of_event(Event.FromString(each), say_issue=True) for each in elsewhere.decisions[:_MAX_ELSEWHERE]]
    return _newest_first([*decided, *events])[:_MAX_ELSEWHERE]


def _newest_first(outputs: list[PreviousAgentOutput]) -> list[PreviousAgentOutput]:
    return sorted(outputs, key=lambda output: micros_of(output.timestamp), reverse=True)


class _Decisions:
    """The newest events of a project whose data has a ``decision``. Each event is examined once."""

    def __init__(self) -> None:
        self._seen = 0
        # Each event with the issue that it is about.
        self._entries: deque[tuple[Entry, str | None]] = deque(maxlen=_MAX_EVENTS)

    async def update(self, bus: EventBus, project: str, issue: str) -> list[Entry]:
        while True:
            page = await bus.read(project, self._seen, _READ_AT_ONCE)
            for entry in page.entries:
                # Another caller may have read it in the meantime.
                if entry.seq > self._seen:
                    self._seen = entry.seq
                    self._add(entry)
            if len(page.entries) < _READ_AT_ONCE:
                break
        return self._of(issue)

    def _add(self, entry: Entry) -> None:
        # Search the serialised bytes first: parse only the few events that have the key.
        if b"decision" not in entry.frame:
            return
        event = entry.event
        named = text_of(event, "issue_id")
        if text_of(event, "decision") is not None and _is_own(event, named):
            self._entries.append((entry, named))

    def of_others(self, issue: str, authors: Collection[str]) -> list[Entry]:
        """Returns the decisions on other issues by agents of some types, newest first."""
        return [
            entry
            for entry, named in reversed(self._entries)
            if named and named != issue and _author_type(entry.event, None) in authors
        ]

    def _of(self, issue: str) -> list[Entry]:
        return [entry for entry, named in self._entries if not issue or named == issue]


def _is_own(event: Event, issue: str | None) -> bool:
    """Whether the decision is about the publisher's own issue; others do not count, except the operator's (contract,
    section 8, decision 5)."""
    own = bool(event.publisher_issue_id) and issue == event.publisher_issue_id
    return own or event.publisher_agent_type == OPERATOR


def _author_type(event: Event, named: Any) -> str:
    """Returns the agent type in the publisher's token. Only the operator may name another."""
    own = event.publisher_agent_type
    return named if own == OPERATOR and isinstance(named, str) else own


def findings_of(outputs: Sequence[PreviousAgentOutput]) -> str:
    """Returns what the outputs say is wrong or to be done, newest first, as one text."""
    texts = (text for output in outputs for text in (*output.errors, *output.warnings, *output.next_steps))
    return "\n".join(texts)[:_MAX_CHARACTERS]


def files_of(outputs: Sequence[PreviousAgentOutput]) -> set[str]:
    """Returns all files that the outputs affect."""
    return {path for output in outputs for path in output.files_affected}


def _of_result(result: Result, *, say_issue: bool, findings: bool = True) -> list[PreviousAgentOutput]:
    work = result.result
    paths = [*map(_path, work.files_created), *map(_path, work.files_modified), *work.files_deleted]
    decisions = list(work.decisions[:_MAX_DECISIONS])
    # Each decision repeats the files.
    most = min(_MAX_FILES, _MAX_FILES_OF_ALL // max(1, len(decisions)))
    touched = [masking.mask(path) for path in paths[:most]]
    status = codec.enum_name(ResultStatus.DESCRIPTOR, work.status)
    summary = f"{status}: {len(paths)} files affected"
    rationale = codec.struct_to_dict(work.extra).get("rationale")
    outputs = [
        PreviousAgentOutput(
            agent=result.agent_id,
            agent_type=result.agent_type,
            timestamp=result.timestamp,
            decision=masking.mask(decision),
            rationale=masking.mask(rationale) if isinstance(rationale, str) else "",
            files_affected=touched,
            issue_id=result.issue_id if say_issue else None,
        )
        for decision in (decisions or [summary])
    ]
    if findings:
        _add_findings(outputs[0], work)
    return outputs


def _add_findings(output: PreviousAgentOutput, work: AgentResult) -> None:
    """Adds what the result says of the state of the work, each text cut to a beginning."""
    output.status = codec.enum_name(ResultStatus.DESCRIPTOR, work.status)
    for given, found in (
        (work.errors, output.errors),
        (work.warnings, output.warnings),
        (work.next_steps, output.next_steps),
    ):
        found.extend(_beginning(text) for text in given[:_MAX_FINDINGS])
    for name in sorted(work.artifacts)[:_MAX_ARTIFACTS]:
        output.artifacts[masking.mask(name)] = _beginning(work.artifacts[name])


def _beginning(text: str) -> str:
    """Masks a text and cuts it, visibly."""
    shown, whole = masking.mask_beginning(text, _MAX_CHARACTERS)
    return shown if whole else f"{shown}\n[... {max(1, len(text) - len(shown))} characters left out ...]"


def _of_event(event: Event, *, say_issue: bool) -> PreviousAgentOutput:
    data = codec.struct_to_dict(event.data)
    rationale, files = data.get("rationale"), data.get("files_affected")
    return PreviousAgentOutput(
        agent=event.publisher,
        agent_type=_author_type(event, data.get("agent_type")),
        timestamp=event.timestamp,
        decision=masking.mask(data["decision"]),
        rationale=masking.mask(rationale) if isinstance(rationale, str) else "",
        files_affected=[masking.mask(path) for path in files[:_MAX_FILES] if isinstance(path, str)]
        if isinstance(files, list)
        else [],
        issue_id=masking.mask(str(data.get("issue_id", ""))) if say_issue else None,
    )


def _path(entry: FileEntry) -> str:
    return entry.path if entry.WhichOneof("entry") == "path" else entry.file.path
