"""Relations of documents as the Agent Orchestrator Framework shows them: one entry for each of the two documents.

``relation_type`` of an entry says what the other document is: the entry of a parent says ``child``. That is the meaning
since its version of 5 December 2025; before, it was the opposite.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any, NamedTuple

from cco_sidecar.core import codec
from orchestra.v1.document_service_pb2 import (
    DOCUMENT_RELATION_TYPE_PARENT_CHILD,
    DOCUMENT_RELATION_TYPE_PREDECESSOR_SUCCESSOR,
    DOCUMENT_RELATION_TYPE_RELATED,
    DocumentRelation,
    DocumentRelationType,
)


class Definition(NamedTuple):
    """``first`` and ``second`` are what the documents are to each other."""

    name: str
    description: str
    first: str
    second: str


DEFINITIONS: dict[DocumentRelationType, Definition] = {
    DOCUMENT_RELATION_TYPE_PARENT_CHILD: Definition(
        "parent-child", "The first is the parent of the second, which is deleted with it", "parent", "child"
    ),
    DOCUMENT_RELATION_TYPE_RELATED: Definition("related", "The two are related", "related", "related"),
    DOCUMENT_RELATION_TYPE_PREDECESSOR_SUCCESSOR: Definition(
        "predecessor-successor", "The first comes before the second", "predecessor", "successor"
    ),
}
TYPES = {definition.name: kind for kind, definition in DEFINITIONS.items()}


def definitions() -> list[dict[str, str]]:
    return [
        {
            "name": each.name,
            "description": each.description,
            "from_document_is": each.first,
            "to_document_is": each.second,
        }
        for each in DEFINITIONS.values()
    ]


def of_first(relation: DocumentRelation) -> dict[str, Any]:
    """Returns the entry of the first document, about the second."""
    return _entry(relation, relation.from_document_id, relation.to_document_id, 1, relation.from_note)


def of_second(relation: DocumentRelation) -> dict[str, Any]:
    """Returns the entry of the second document, about the first."""
    return _entry(relation, relation.to_document_id, relation.from_document_id, 0, relation.to_note)


def of_document(document_id: str, relations: Iterable[DocumentRelation]) -> dict[str, list[dict[str, Any]]]:
    """Returns the entries of a document, by what the others are."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for relation in relations:
        entry = of_first(relation) if relation.from_document_id == document_id else of_second(relation)
        found[entry["relation_type"]].append(entry)
    return dict(found)


def _entry(relation: DocumentRelation, document_id: str, other: str, role: int, note: str) -> dict[str, Any]:
    definition = DEFINITIONS[relation.type]
    return {
        "id": relation.relation_id,
        "document_id": document_id,
        "related_document_id": other,
        "relation_type": (definition.first, definition.second)[role],
        "note": note or None,
        "created_at": codec.rfc3339(relation.created_at),
        "updated_at": codec.rfc3339(relation.updated_at),
    }
