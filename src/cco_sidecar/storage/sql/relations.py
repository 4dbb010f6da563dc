"""The table of relations between documents."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import sqlalchemy as sa

from cco_sidecar.core.errors import conflict
from cco_sidecar.storage.documents import MAX_FAMILY, MAX_RELATIONS
from cco_sidecar.storage.sql.checksums import whole
from cco_sidecar.storage.sql.schema import document_relations
from orchestra.v1.document_service_pb2 import (
    DOCUMENT_RELATION_TYPE_PARENT_CHILD,
    DOCUMENT_RELATION_TYPE_RELATED,
    DocumentRelation,
)

_columns = document_relations.c


def add(connection: sa.Connection, relation: DocumentRelation, project: str) -> None:
    """Raises SidecarError (DOC_003)."""
    first, second = relation.from_document_id, relation.to_document_id
    directions = [(first, second)]
    if relation.type == DOCUMENT_RELATION_TYPE_RELATED:
        directions.append((second, first))
    there = [sa.and_(_columns.from_id == one, _columns.to_id == other) for one, other in directions]
    known = sa.select(_columns.number).where(_columns.type == relation.type, sa.or_(*there))
    if connection.execute(known).first() is not None:
        raise conflict("DOC_003", "the documents have this relation already")
    if relation.type == DOCUMENT_RELATION_TYPE_PARENT_CHILD:
        _check_parent(connection, relation)
    for document_id in (first, second):
        count = sa.select(sa.func.count()).where(_touches(document_id))
        if connection.execute(count).scalar_one() >= MAX_RELATIONS:
            raise conflict("DOC_003", f"document '{document_id}' has {MAX_RELATIONS} relations; delete some first")
    row = {
        "relation_id": relation.relation_id,
        "project_id": project,
        "from_id": first,
        "to_id": second,
        "type": relation.type,
        "body": relation.SerializeToString(),
    }
    connection.execute(sa.insert(document_relations).values(row))


def _check_parent(connection: sa.Connection, relation: DocumentRelation) -> None:
    """Raises SidecarError (DOC_003)."""
    parent, child = relation.from_document_id, relation.to_document_id
    is_child = sa.and_(_is_parent(), _columns.to_id == child)
    other = connection.execute(sa.select(_columns.from_id).where(is_child)).scalar()
    if other is not None:
        raise conflict("DOC_003", f"document '{child}' has a parent already: '{other}'")
    below = with_children(connection, child)
    if parent in below:
        raise conflict("DOC_003", f"document '{child}' would be its own ancestor")
    family = len(below) + len(with_children(connection, _root(connection, parent)))
    if family > MAX_FAMILY:
        raise conflict(
            "DOC_003", f"{family} documents would be deleted together; at most {MAX_FAMILY} may be children of one"
        )


def with_children(connection: sa.Connection, document_id: str) -> list[str]:
    """Returns a document, its children, and theirs; at most a few more than a family may have."""
    start = sa.select(sa.literal(document_id).label("id")).cte("family", recursive=True)
    below = sa.select(_columns.to_id).where(_is_parent(), _columns.from_id == start.c.id)
    family = start.union(below)
    return list(connection.execute(sa.select(family.c.id).limit(MAX_FAMILY + 2)).scalars())


def _root(connection: sa.Connection, document_id: str) -> str:
    """Returns the parent that has none, of a document and its ancestors."""
    start = sa.select(sa.literal(document_id).label("id")).cte("ancestors", recursive=True)
    above = sa.select(_columns.from_id).where(_is_parent(), _columns.to_id == start.c.id)
    ancestors = start.union(above)
    children = sa.select(_columns.to_id).where(_is_parent())
    query = sa.select(ancestors.c.id).where(ancestors.c.id.not_in(children))
    return str(connection.execute(query.limit(1)).scalar() or document_id)


def _is_parent() -> sa.ColumnElement[bool]:
    return _columns.type == DOCUMENT_RELATION_TYPE_PARENT_CHILD


def of_document(connection: sa.Connection, project: str, document_id: str) -> Sequence[DocumentRelation]:
    query = whole(document_relations).where(_columns.project_id == project, _touches(document_id))
    rows = connection.execute(query.order_by(_columns.number).limit(MAX_RELATIONS)).all()
    return [DocumentRelation.FromString(row.body) for row in rows]


def change(
    connection: sa.Connection, project: str, relation_id: str, make: Callable[[DocumentRelation], None]
) -> DocumentRelation | None:
    relation = _find(connection, project, relation_id)
    if relation is None:
        return None
    make(relation)
    update = sa.update(document_relations).where(_columns.relation_id == relation_id)
    connection.execute(update.values(body=relation.SerializeToString()))
    return relation


def take(connection: sa.Connection, project: str, relation_id: str) -> DocumentRelation | None:
    """Deletes a relation and returns it."""
    relation = _find(connection, project, relation_id)
    if relation is not None:
        connection.execute(sa.delete(document_relations).where(_columns.relation_id == relation_id))
    return relation


def remove(connection: sa.Connection, document_id: str) -> None:
    """Deletes all relations of a document."""
    connection.execute(sa.delete(document_relations).where(_touches(document_id)))


def _find(connection: sa.Connection, project: str, relation_id: str) -> DocumentRelation | None:
    query = whole(document_relations).where(_columns.project_id == project, _columns.relation_id == relation_id)
    row = connection.execute(query).one_or_none()
    return DocumentRelation.FromString(row.body) if row is not None else None


def _touches(document_id: str) -> sa.ColumnElement[bool]:
    return sa.or_(_columns.from_id == document_id, _columns.to_id == document_id)
