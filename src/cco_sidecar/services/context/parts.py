"""What a context is built from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from cco_sidecar.ranking.selection import Choice
from cco_sidecar.repository.snapshot import Snapshot
from cco_sidecar.services.context.documents import WithDocuments
from orchestra.v1.context_service_pb2 import PreviousAgentOutput
from orchestra.v1.knowledge_service_pb2 import KnowledgeEntry


class Parts(NamedTuple):
    """``choices``: files and documents, in the documented order of priority; ``texts``: where their texts come from."""

    snapshot: Snapshot
    choices: Sequence[Choice]
    outputs: Sequence[PreviousAgentOutput]
    knowledge: Sequence[KnowledgeEntry]
    texts: WithDocuments
