"""The differences between databases: how to connect, and how to interpret errors."""

from __future__ import annotations

from typing import Any, Protocol

import sqlalchemy as sa

from cco_sidecar.core.errors import SettingsError

NEWER = "use the newer version of the sidecar that made it, or restore it from a backup"
VERSION = "SELECT version_num FROM alembic_version"


class Claimed(SettingsError):
    """Another sidecar uses the database."""


class Claim:
    """Keeps other sidecars from using a database until it is released."""

    def is_held(self) -> bool:
        """Whether others are still kept out. Blocks."""
        return True

    def release(self) -> None:
        """Lets others in."""


class Backend(Protocol):
    """A kind of database.

    ``shared`` is true if other processes may change the records. ``name`` is for messages and contains no password.
    """

    shared: bool
    name: str

    def engine(self, *, reads: bool = False) -> sa.Engine:
        """Returns an engine whose commits are durable; with ``reads``, one that only reads, and never holds up the
        other. With the execution option ``waits``, a transaction of SQLite begins when no other one writes. Raises
        SettingsError."""
        ...

    def insert(self, table: sa.Table) -> Any:
        """Returns an INSERT that supports ON CONFLICT."""
        ...

    def lock_migrations(self, connection: sa.Connection) -> None:
        """Waits, in the transaction that migrates, until no other process migrates the database."""
        ...

    def lock(self, connection: sa.Connection, name: str) -> None:
        """Waits until no other process is in a transaction that has a lock of this name, which ends with this one."""
        ...

    def why_not_written(self, problem: BaseException | None) -> str:
        """Says why a change failed, and what to do about it; empty if that is not known."""
        ...

    def may_pass(self, problem: BaseException | None) -> bool:
        """Whether a transaction failed only because of another one at the same time."""
        ...

    def claim(self, *, shared: bool = False) -> Claim:
        """Keeps other sidecars from using the database; with ``shared``, only those that want it for themselves. Raises
        Claimed if one of them uses it, SettingsError."""
        ...

    def is_claimed(self) -> bool:
        """Whether a sidecar uses the database. Raises SettingsError."""
        ...

    def check(self) -> None:
        """Connects once, and reads. Raises SettingsError if the database cannot be used."""
        ...

    def version(self) -> str:
        """Returns the version of the database, such as ``0014``; empty if it has no tables. Raises SettingsError."""
        ...

    def damage_of(self, problem: BaseException | None) -> str:
        """Describes damage to the stored data; empty for any other error, such as a full disk."""
        ...

    def integrity(self) -> str:
        """Checks the whole migrated database on a separate connection and describes any damage; empty if there is
        none."""
        ...

    def unusable(self, problem: Exception) -> SettingsError:
        """Returns the error that stops the start, with a fix where there is one."""
        ...
