"""Indexes of the words of texts: SQLite's FTS5 (sqlite.org/fts5.html), or PostgreSQL's text search."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Protocol

import sqlalchemy as sa

from cco_sidecar.core.terms import Term, spaced, words_of
from cco_sidecar.storage.sql.database import Database

DOCUMENT_WORDS, KNOWLEDGE_WORDS = "document_words", "knowledge_words"
# A tsvector has at most 1 MB (postgresql.org/docs/current/textsearch-limitations.html).
_MAX_CHARS = 250_000
# SQLite indexes a text while nobody else writes: so much takes a tenth of a second.
_MAX_ASCII = 1_000_000
_CREATE = {
    "sqlite": [
        "CREATE VIRTUAL TABLE {table} USING fts5(words, content='', tokenize='unicode61 remove_diacritics 2')",
    ],
    "postgresql": [
        "CREATE TABLE {table} (number BIGINT PRIMARY KEY, words TSVECTOR NOT NULL)",
        "CREATE INDEX {table}_by_word ON {table} USING GIN (words)",
    ],
}


def create(connection: sa.Connection, table: str) -> None:
    """Creates an index, for a migration."""
    for statement in _CREATE[connection.dialect.name]:
        connection.execute(sa.text(statement.format(table=table)))


class Words(Protocol):
    """``number`` is that of a record. A text is removed with what was added."""

    def add(self, connection: sa.Connection, number: int, text: str) -> None: ...

    def remove(self, connection: sa.Connection, number: int, text: str) -> None: ...

    def ranks(self, terms: Sequence[Term], *, some: bool = False) -> sa.Select[tuple[int, float]]:
        """Selects the numbers of texts with all terms, and their ranks, higher for better ones. ``some``: one term is
        enough."""
        ...


def words_in(database: Database, table: str) -> Words:
    """Returns an index of the database."""
    return PostgresWords(table) if database.shared else SqliteWords(table)


def _indexed(text: str) -> str:
    """Returns what of a text is indexed. It must stay as it is: a text is removed with what was added."""
    return text[:_MAX_ASCII] if text.isascii() else spaced(text[:_MAX_CHARS])


class SqliteWords:
    """The index keeps no text, so a text must be given again to be removed."""

    def __init__(self, table: str) -> None:
        self._table = table

    def add(self, connection: sa.Connection, number: int, text: str) -> None:
        connection.execute(
            sa.text(f"INSERT INTO {self._table} (rowid, words) VALUES (:number, :words)"),
            {"number": number, "words": _indexed(text)},
        )

    def remove(self, connection: sa.Connection, number: int, text: str) -> None:
        connection.execute(
            sa.text(f"INSERT INTO {self._table} ({self._table}, rowid, words) VALUES ('delete', :number, :words)"),
            {"number": number, "words": _indexed(text)},
        )

    def ranks(self, terms: Sequence[Term], *, some: bool = False) -> sa.Select[tuple[int, float]]:
        match = (" OR " if some else " AND ").join(
            f'"{" ".join(term.words)}"{"*" if term.prefix else ""}' for term in terms
        )
        statement = sa.text(
            f"SELECT rowid AS number, -bm25({self._table}) AS rank FROM {self._table} WHERE {self._table} MATCH :match"
        ).bindparams(match=match)
        found = statement.columns(sa.column("number", sa.Integer), sa.column("rank", sa.Float)).subquery("found")
        return sa.select(found.c.number, found.c.rank)


def _words(text: str) -> list[str]:
    """Returns the words of a text, without diacritics."""
    plain = "".join(sign for sign in unicodedata.normalize("NFD", text) if not unicodedata.combining(sign))
    return words_of(unicodedata.normalize("NFC", plain))


class PostgresWords:
    """Texts and terms are split into words here, as FTS5 does: for PostgreSQL, `foo.bar` is the name of a host."""

    def __init__(self, table: str) -> None:
        self._table = table

    def add(self, connection: sa.Connection, number: int, text: str) -> None:
        statement = f"INSERT INTO {self._table} (number, words) VALUES (:number, to_tsvector('simple', :words))"
        connection.execute(sa.text(statement), {"number": number, "words": " ".join(_words(text[:_MAX_CHARS]))})

    def remove(self, connection: sa.Connection, number: int, text: str) -> None:
        connection.execute(sa.text(f"DELETE FROM {self._table} WHERE number = :number"), {"number": number})

    def ranks(self, terms: Sequence[Term], *, some: bool = False) -> sa.Select[tuple[int, float]]:
        asked = (" | " if some else " & ").join(_asked(term) for term in terms)
        statement = sa.text(
            f"SELECT number, ts_rank(words, query) AS rank FROM {self._table}, to_tsquery('simple', :asked) AS query "
            "WHERE words @@ query"
        ).bindparams(asked=asked)
        found = statement.columns(sa.column("number", sa.BigInteger), sa.column("rank", sa.Float)).subquery("found")
        return sa.select(found.c.number, found.c.rank)


def _asked(term: Term) -> str:
    """Returns a term as to_tsquery reads it."""
    words = " <-> ".join(f"'{word}'" for word in _words(" ".join(term.words)))
    return f"({words}:*)" if term.prefix else f"({words})"
