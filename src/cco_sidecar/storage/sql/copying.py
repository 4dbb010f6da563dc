"""Copies all records of one database into another, which may be of another kind."""

from __future__ import annotations

import secrets

import sqlalchemy as sa

from cco_sidecar.core.errors import SettingsError
from cco_sidecar.storage.sql.agents import OPEN
from cco_sidecar.storage.sql.base import Backend
from cco_sidecar.storage.sql.checksums import whole
from cco_sidecar.storage.sql.cluster import now
from cco_sidecar.storage.sql.database import Database
from cco_sidecar.storage.sql.schema import agents, document_contents, documents, knowledge, leases, members, metadata
from cco_sidecar.storage.sql.words import DOCUMENT_WORDS, KNOWLEDGE_WORDS, words_in
from orchestra.v1.document_service_pb2 import Document
from orchestra.v1.knowledge_service_pb2 import KnowledgeEntry
from orchestra.v1.system_service_pb2 import ClusterMember

_ROWS_AT_ONCE = 200
# Who is there, not what was done.
_OF_THE_MOMENT = {members.name, leases.name}


def copy_records(source: Backend, target: Backend) -> int:
    """Returns how many rows were copied, in one transaction: all or none. The source may be in use. Raises
    SettingsError if the target has records."""
    Database(source).close()  # the newest version of the tables
    database = Database(target, exclusive=True)
    reading = source.engine(reads=True)
    try:
        with reading.connect() as connection:
            if source.shared:
                # All tables as of one moment, however long it takes.
                connection = connection.execution_options(isolation_level="REPEATABLE READ")
            with connection.begin():
                if source.shared:
                    connection.execute(sa.text("SET LOCAL idle_in_transaction_session_timeout = 0"))
                return database.run_now(lambda into: _copy(connection, into, database, target.name))
    finally:
        reading.dispose()
        database.close()


def _copy(source: sa.Connection, target: sa.Connection, database: Database, name: str) -> int:
    tables = [table for table in metadata.sorted_tables if table.name not in _OF_THE_MOMENT]
    for table in tables:
        if target.execute(sa.select(sa.literal(1)).select_from(table).limit(1)).first() is not None:
            raise SettingsError(f"the database {name} has records already (table {table.name}); give an empty one")
    if database.shared:
        target.execute(sa.text("SET LOCAL idle_in_transaction_session_timeout = 0"))
    copied = sum(_copy_table(source, target, table) for table in tables)
    _index(target, database)
    _name_members(target)
    if database.shared:
        for table in tables:
            _continue_numbers(source, target, table)
    return copied


def _name_members(target: sa.Connection) -> None:
    """Those whose agents have not ended count as there until now: they may come, and are lost if they do not."""
    for row in target.execute(sa.select(agents.c.sidecar_id).where(agents.c.status.in_(OPEN)).distinct()).all():
        if row.sidecar_id:
            body = ClusterMember(sidecar_id=row.sidecar_id).SerializeToString()
            values = {"sidecar_id": row.sidecar_id, "incarnation": secrets.token_hex(8), "seen": now(), "body": body}
            target.execute(sa.insert(members).values(values))


def _copy_table(source: sa.Connection, target: sa.Connection, table: sa.Table) -> int:
    copied = 0
    columns = list(table.c.keys())
    # Not all at once in memory.
    query = whole(table).execution_options(stream_results=True, yield_per=_ROWS_AT_ONCE)
    for rows in source.execute(query).partitions():
        target.execute(sa.insert(table), [dict(zip(columns, row, strict=False)) for row in rows])
        copied += len(rows)
    return copied


def _continue_numbers(source: sa.Connection, target: sa.Connection, table: sa.Table) -> None:
    """The next row gets a number that no row has had."""
    if "number" not in table.c:
        return
    last = source.execute(sa.select(sa.func.coalesce(sa.func.max(table.c.number), 0))).scalar_one()
    if source.dialect.name == "sqlite":
        given = sa.text("SELECT seq FROM sqlite_sequence WHERE name = :name").bindparams(name=table.name)
        last = max(last, source.execute(given).scalar_one_or_none() or 0)
    sequence = sa.func.pg_get_serial_sequence(table.name, "number")
    target.execute(sa.select(sa.func.setval(sequence, max(1, last), last > 0)))


def _index(target: sa.Connection, database: Database) -> None:
    """The index of words is of another kind in each database, so it is made again."""
    of_documents, of_knowledge = words_in(database, DOCUMENT_WORDS), words_in(database, KNOWLEDGE_WORDS)
    for row in target.execute(sa.select(documents.c.number, documents.c.body)).all():
        document = Document.FromString(row.body)
        if document.HasField("total_chars"):
            current = sa.select(document_contents.c.content).where(
                document_contents.c.document_id == document.document_id,
                document_contents.c.revision == document.revision,
            )
            of_documents.add(target, row.number, target.execute(current).scalar_one().decode())
    for row in target.execute(sa.select(knowledge.c.number, knowledge.c.body)).all():
        of_knowledge.add(target, row.number, KnowledgeEntry.FromString(row.body).text)
