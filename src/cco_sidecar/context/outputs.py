"""What other agents did and decided: from their results, and from events that carry a decision."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Sequence

from cco_sidecar.bus.bus import EventBus
from cco_sidecar.bus.journal import Entry
from cco_sidecar.context import secrets
from cco_sidecar.core import codec
from cco_sidecar.core.clock import micros_of
from cco_sidecar.storage.base import ResultStore
from orchestra.v1.context_service_pb2 import PreviousAgentOutput
from orchestra.v1.result_service_pb2 import FileEntry, Result, ResultStatus

_MOST_RESULTS = 200
_MOST_EVENTS = 200
# Per output; a decision that names more files than this is not about any of them.
_MOST_FILES = 500
_REMEMBERED = 1000

# What the outputs were made from: equal for equal outputs.
Basis = tuple[int, tuple[int, ...]]


class PreviousOutputs:
    """Made again only when a result or a decision was added."""

    def __init__(self, store: ResultStore, bus: EventBus) -> None:
        self._store = store
        self._bus = bus
        self._decisions: dict[str, _Decisions] = {}
        self._known: OrderedDict[tuple[str, str], tuple[Basis, list[PreviousAgentOutput]]] = OrderedDict()

    async def of(self, project: str, issue: str) -> tuple[Basis, list[PreviousAgentOutput]]:
        """Newest first; of one issue, or of the whole project when ``issue`` is empty."""
        entries = self._decisions.setdefault(project, _Decisions()).update(self._bus, project, issue)
        basis = (self._store.version(project, issue), tuple(entry.seq for entry in entries))
        known = self._known.get((project, issue))
        if known is not None and known[0] == basis:
            return known
        results = await self._store.page(project, issue=issue, limit=_MOST_RESULTS)
        # Off the loop: agents write what they like, and all of it is searched for keys.
        outputs = await asyncio.to_thread(_merged, [stored.result for stored in results], entries)
        self._known[project, issue] = (basis, outputs)
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return basis, outputs


def _merged(results: list[Result], entries: list[Entry]) -> list[PreviousAgentOutput]:
    outputs = [output for result in results for output in _of_result(result)]
    outputs += [_of_event(entry) for entry in entries]
    return sorted(outputs, key=lambda output: micros_of(output.timestamp), reverse=True)


class _Decisions:
    """The newest events of a project whose data has a ``decision``; each event is looked at once."""

    def __init__(self) -> None:
        self._seen = 0
        self._entries: deque[Entry] = deque(maxlen=_MOST_EVENTS)

    def update(self, bus: EventBus, project: str, issue: str) -> list[Entry]:
        for entry in bus.entries_after(project, self._seen):
            self._seen = entry.seq
            # The key stands in the serialised bytes; parsing is for the few that have it.
            if b"decision" in entry.frame and isinstance(entry.fields["data"].get("decision"), str):
                self._entries.append(entry)
        return [entry for entry in self._entries if not issue or entry.fields["data"].get("issue_id") == issue]


def files_of(outputs: Sequence[PreviousAgentOutput]) -> set[str]:
    return {path for output in outputs for path in output.files_affected}


def _of_result(result: Result) -> list[PreviousAgentOutput]:
    work = result.result
    paths = [*map(_path, work.files_created), *map(_path, work.files_modified), *work.files_deleted]
    touched = [secrets.mask(path)[0] for path in paths[:_MOST_FILES]]
    status = codec.enum_name(ResultStatus.DESCRIPTOR, work.status)
    summary = f"{status}: {len(touched)} files affected"
    rationale = codec.struct_to_dict(work.extra).get("rationale")
    return [
        PreviousAgentOutput(
            agent=result.agent_id,
            agent_type=result.agent_type,
            timestamp=result.timestamp,
            decision=secrets.mask(decision)[0],
            rationale=secrets.mask(rationale)[0] if isinstance(rationale, str) else "",
            files_affected=touched,
        )
        for decision in (work.decisions or [summary])
    ]


def _of_event(entry: Entry) -> PreviousAgentOutput:
    event = entry.event
    data = entry.fields["data"]
    agent_type, rationale, files = data.get("agent_type"), data.get("rationale"), data.get("files_affected")
    return PreviousAgentOutput(
        agent=event.publisher,
        agent_type=agent_type if isinstance(agent_type, str) else "",
        timestamp=event.timestamp,
        decision=secrets.mask(data["decision"])[0],
        rationale=secrets.mask(rationale)[0] if isinstance(rationale, str) else "",
        files_affected=[secrets.mask(path)[0] for path in files[:_MOST_FILES] if isinstance(path, str)]
        if isinstance(files, list)
        else [],
    )


def _path(entry: FileEntry) -> str:
    return entry.path if entry.WhichOneof("entry") == "path" else entry.file.path
