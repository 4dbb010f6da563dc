"""KnowledgeService: unpacks requests, calls one operation, packs the response."""

from __future__ import annotations

from collections.abc import Sequence

from cco_sidecar.core import ids
from cco_sidecar.core.clock import Clock
from cco_sidecar.core.errors import SidecarError, invalid_request, not_found, permission_denied
from cco_sidecar.core.offload import beside_the_loop
from cco_sidecar.core.paging import number_of, paged
from cco_sidecar.core.principal import OPERATOR, Principal
from cco_sidecar.core.terms import terms_of
from cco_sidecar.storage.knowledge import KnowledgeStore, Wanted
from cco_sidecar.supervision.learned import approve, decide, remembered
from orchestra.v1 import knowledge_service_pb2 as pb

_SEARCHED = 20


class KnowledgeServicer:
    """Implements orchestra.v1.KnowledgeService. Errors are raised as SidecarError."""

    def __init__(self, store: KnowledgeStore, rule: Sequence[str], clock: Clock) -> None:
        """``rule``: patterns of agent types whose entries are approved."""
        self._store = store
        self._rule = rule
        self._clock = clock

    async def CreateKnowledgeEntry(
        self, request: pb.CreateKnowledgeEntryRequest, principal: Principal
    ) -> pb.CreateKnowledgeEntryResponse:
        text = await beside_the_loop(remembered, request.text, size=len(request.text))
        if not text:
            raise invalid_request("text is required: what was learned", field="text")
        now = self._clock.timestamp()
        entry = pb.KnowledgeEntry(
            entry_id=ids.sortable("know"),
            project_id=request.project_id,
            issue_id=request.issue_id,
            kind=request.kind or pb.KNOWLEDGE_KIND_LESSON,
            text=text,
            created_by=principal.subject,
            agent_type=principal.agent_type,
            created_at=now,
        )
        if principal.operator:
            approve(entry, OPERATOR, now)
        else:
            decide(entry, self._rule, now)
        stored = await self._store.add(entry)
        if entry.status == pb.KNOWLEDGE_STATUS_APPROVED and stored.status == pb.KNOWLEDGE_STATUS_PENDING:
            # Somebody else had said it before.
            by = entry.approved_by
            approved = await self._store.change(request.project_id, stored.entry_id, lambda e: approve(e, by, now))
            stored = approved or stored
        return pb.CreateKnowledgeEntryResponse(entry=stored)

    async def GetKnowledgeEntry(
        self, request: pb.GetKnowledgeEntryRequest, principal: Principal
    ) -> pb.GetKnowledgeEntryResponse:
        entry = await self._store.by_id(request.project_id, request.entry_id)
        if entry is None or not _may_read(principal, entry):
            raise _unknown(request.entry_id)
        return pb.GetKnowledgeEntryResponse(entry=entry)

    async def ListKnowledgeEntries(
        self, request: pb.ListKnowledgeEntriesRequest, principal: Principal
    ) -> pb.ListKnowledgeEntriesResponse:
        wanted = _wanted(request, principal)
        page = await paged(
            lambda before, limit: self._store.page(request.project_id, wanted, before=before, limit=limit),
            number_of(request.cursor),
            request.limit,
        )
        entries = [stored.entry for stored in page.items]
        return pb.ListKnowledgeEntriesResponse(entries=entries, next_cursor=page.next_cursor)

    async def SearchKnowledge(
        self, request: pb.SearchKnowledgeRequest, principal: Principal
    ) -> pb.SearchKnowledgeResponse:
        found = await self._store.search(
            request.project_id,
            terms_of(request.query),
            _wanted(request, principal),
            limit=request.limit or _SEARCHED,
        )
        best = max((each.rank for each in found), default=0.0)
        results = [
            pb.KnowledgeFound(entry=each.entry, score=round(each.rank / best, 4) if best > 0 else 1.0) for each in found
        ]
        return pb.SearchKnowledgeResponse(query=request.query, results=results)

    async def ApproveKnowledgeEntry(
        self, request: pb.ApproveKnowledgeEntryRequest, principal: Principal
    ) -> pb.ApproveKnowledgeEntryResponse:
        def make(entry: pb.KnowledgeEntry) -> None:
            if entry.status != pb.KNOWLEDGE_STATUS_APPROVED:
                approve(entry, OPERATOR, self._clock.timestamp())

        entry = await self._store.change(request.project_id, request.entry_id, make)
        if entry is None:
            raise _unknown(request.entry_id)
        return pb.ApproveKnowledgeEntryResponse(entry=entry)

    async def DeleteKnowledgeEntry(
        self, request: pb.DeleteKnowledgeEntryRequest, principal: Principal
    ) -> pb.DeleteKnowledgeEntryResponse:
        def check(entry: pb.KnowledgeEntry) -> None:
            if principal.operator:
                return
            if not _may_read(principal, entry):
                raise _unknown(request.entry_id)
            if entry.created_by != principal.subject or entry.status != pb.KNOWLEDGE_STATUS_PENDING:
                why = "is approved" if entry.created_by == principal.subject else f"was added by {entry.created_by}"
                raise permission_denied(f"knowledge '{entry.entry_id}' {why}; only the operator may forget it")

        if not await self._store.delete(request.project_id, request.entry_id, check):
            raise _unknown(request.entry_id)
        return pb.DeleteKnowledgeEntryResponse(entry_id=request.entry_id)


def _wanted(request: pb.ListKnowledgeEntriesRequest | pb.SearchKnowledgeRequest, principal: Principal) -> Wanted:
    reader = None if principal.operator else principal.issue_id
    return Wanted(request.kind, request.status, request.issue_id, reader)


def _may_read(principal: Principal, entry: pb.KnowledgeEntry) -> bool:
    own = principal.operator or entry.issue_id == principal.issue_id
    return own or entry.status == pb.KNOWLEDGE_STATUS_APPROVED


def _unknown(entry_id: str) -> SidecarError:
    return not_found("KNW_001", f"knowledge '{entry_id}' not found; list it with 'cco knowledge list'")
