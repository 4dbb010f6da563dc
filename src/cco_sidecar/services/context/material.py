"""What a context is made of beside the repository: what agents did, the documents that the task names, and what the
project has learned."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import NamedTuple

from cco_sidecar.core.agent_types import AgentType
from cco_sidecar.core.terms import Term, term_of
from cco_sidecar.ranking.words import Terms
from cco_sidecar.services.context.documents import NamedDocument, NamedDocuments
from cco_sidecar.services.context.outputs import PreviousOutputs
from cco_sidecar.storage.knowledge import KnowledgeStore, Wanted
from orchestra.v1.document_service_pb2 import Document
from orchestra.v1.knowledge_service_pb2 import KNOWLEDGE_STATUS_APPROVED, KnowledgeEntry

# Entries of a context: with a task, and without.
_MAX_FOUND, _MAX_NEWEST = 20, 10
# Words of a task that are looked for in what was learned.
_MAX_TERMS = 30


class Found(NamedTuple):
    """What there is for a context. Equal ``basis``: the same."""

    basis: Hashable
    outputs: Sequence[bytes]
    documents: Sequence[Document]


class Material(NamedTuple):
    """What a context is made of. ``outputs``: serialised PreviousAgentOutputs; ``knowledge``: KnowledgeEntries."""

    outputs: Sequence[bytes] = ()
    documents: Sequence[NamedDocument] = ()
    knowledge: Sequence[bytes] = ()


class Materials:
    """Finds the material of contexts; first what identifies it, since most contexts are cached."""

    def __init__(self, outputs: PreviousOutputs, documents: NamedDocuments, knowledge: KnowledgeStore) -> None:
        self._outputs = outputs
        self._documents = documents
        self._knowledge = knowledge

    async def find(self, project: str, issue: str, agent: AgentType, task: str) -> Found:
        """Raises SidecarError."""
        made_from, outputs = await self._outputs.of(project, "" if agent.architect else issue)
        documents = await self._documents.find(project, task)
        read = tuple((each.document_id, each.revision, each.filename) for each in documents)
        return Found((made_from, read, await self._knowledge.version(project)), outputs, documents)

    async def read(self, project: str, task: str, found: Found) -> Material:
        """Raises SidecarError."""
        documents = await self._documents.read(project, found.documents)
        learned = await self._learned(project, task)
        return Material(found.outputs, documents, [each.SerializeToString() for each in learned])

    async def _learned(self, project: str, task: str) -> Sequence[KnowledgeEntry]:
        """Returns what the project has learned and is approved, what has most of the task's words first."""
        wanted = Wanted(status=KNOWLEDGE_STATUS_APPROVED)
        if not (await self._knowledge.version(project))[0]:
            return ()
        if not task.strip():
            page = await self._knowledge.page(project, wanted, limit=_MAX_NEWEST)
            return [stored.entry for stored in page]
        terms = _terms(task)
        if not terms:
            return ()
        found = await self._knowledge.search(project, terms, wanted, some=True, limit=_MAX_FOUND)
        return [each.entry for each in found]


def _terms(task: str) -> Sequence[Term]:
    """Returns the words that say most of what a task is about."""
    words = Terms(task)
    weights = dict(zip(words.names, words.weights, strict=False))
    best = sorted(weights, key=lambda name: (-weights[name], name))[:_MAX_TERMS]
    # Names are without their endings.
    found = (term_of(name, prefix=True) for name in best)
    return [term for term in found if term is not None]
