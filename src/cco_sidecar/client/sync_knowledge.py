# Written by scripts/unasync.py from aio_knowledge.py; change that file.
"""The synchronous client: what a project has learned."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cco_sidecar.client import requests
from cco_sidecar.client.sync_calls import Calls
from orchestra.v1 import knowledge_service_pb2 as knowledge_pb
from orchestra.v1 import knowledge_service_pb2_grpc


class Knowledge:
    """Decisions, findings and lessons. Kinds are ``decision``, ``finding`` and ``lesson``; a status is ``pending`` or
    ``approved``."""

    def __init__(self, client: Calls) -> None:
        self._client = client
        self._stub = knowledge_service_pb2_grpc.KnowledgeServiceStub(client.channel)

    def add(
        self, text: str, *, kind: str = "lesson", issue_id: str = "", project_id: str = ""
    ) -> knowledge_pb.KnowledgeEntry:
        """Adds an entry. An agent's is pending until it is approved."""
        request = requests.filled(
            knowledge_pb.CreateKnowledgeEntryRequest, text=text, kind=kind, issue_id=issue_id, project_id=project_id
        )
        return (self._client.call(self._stub.CreateKnowledgeEntry, request)).entry

    def get(self, entry_id: str, *, project_id: str = "") -> knowledge_pb.KnowledgeEntry:
        """Returns an entry. Raises NotFoundError."""
        request = knowledge_pb.GetKnowledgeEntryRequest(entry_id=entry_id, project_id=project_id)
        return (self._client.call(self._stub.GetKnowledgeEntry, request)).entry

    def list(
        self,
        *,
        kind: str = "",
        status: str = "",
        issue_id: str = "",
        limit: int | None = None,
        cursor: str = "",
        project_id: str = "",
    ) -> knowledge_pb.ListKnowledgeEntriesResponse:
        """Returns entries, the newest first."""
        request = requests.filled(
            knowledge_pb.ListKnowledgeEntriesRequest,
            kind=kind,
            status=status,
            issue_id=issue_id,
            limit=limit,
            cursor=cursor,
            project_id=project_id,
        )
        return self._client.call(self._stub.ListKnowledgeEntries, request)

    def iterate(
        self, *, kind: str = "", status: str = "", issue_id: str = "", project_id: str = ""
    ) -> Iterator[knowledge_pb.KnowledgeEntry]:
        """Yields all entries, the newest first."""
        cursor = ""
        while True:
            page = self.list(kind=kind, status=status, issue_id=issue_id, cursor=cursor, project_id=project_id)
            for entry in page.entries:
                yield entry
            cursor = page.next_cursor
            if not cursor:
                return

    def search(
        self,
        query: str,
        *,
        kind: str = "",
        status: str = "",
        issue_id: str = "",
        limit: int | None = None,
        project_id: str = "",
    ) -> Sequence[knowledge_pb.KnowledgeFound]:
        """Returns entries with all words of ``query``, the best first. ``"two words"`` is a phrase, ``arch*`` a
        prefix."""
        request = requests.filled(
            knowledge_pb.SearchKnowledgeRequest,
            query=query,
            kind=kind,
            status=status,
            issue_id=issue_id,
            limit=limit,
            project_id=project_id,
        )
        return (self._client.call(self._stub.SearchKnowledge, request)).results

    def approve(self, entry_id: str, *, project_id: str = "") -> knowledge_pb.KnowledgeEntry:
        """Offers an entry to all issues of its project. Operator only. Raises NotFoundError."""
        request = knowledge_pb.ApproveKnowledgeEntryRequest(entry_id=entry_id, project_id=project_id)
        return (self._client.call(self._stub.ApproveKnowledgeEntry, request)).entry

    def forget(self, entry_id: str, *, project_id: str = "") -> None:
        """Deletes an entry. Raises NotFoundError."""
        request = knowledge_pb.DeleteKnowledgeEntryRequest(entry_id=entry_id, project_id=project_id)
        self._client.call(self._stub.DeleteKnowledgeEntry, request)
