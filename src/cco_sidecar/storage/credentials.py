"""Sealed credentials, on Records."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from cco_sidecar.storage.base import SealedCredential
from cco_sidecar.storage.records import Records
from cco_sidecar.storage.schema import credentials


class SqlCredentials:
    """CredentialStore."""

    def __init__(self, records: Records) -> None:
        self._records = records

    async def put(self, credential: SealedCredential) -> SealedCredential:
        insert = sqlite.insert(credentials).values(credential._asdict())
        change = insert.on_conflict_do_update(
            index_elements=["name"], set_={"sealed": credential.sealed, "updated": credential.updated}
        ).returning(*credentials.c)
        return await self._records.write(lambda c: SealedCredential(*c.execute(change).one()))

    async def get(self, name: str) -> SealedCredential | None:
        query = sa.select(credentials).where(credentials.c.name == name)
        row = await self._records.read(lambda c: c.execute(query).one_or_none())
        return SealedCredential(*row) if row is not None else None

    async def all(self) -> Sequence[SealedCredential]:
        query = sa.select(credentials).order_by(credentials.c.name)
        return [SealedCredential(*row) for row in await self._records.read(lambda c: c.execute(query).all())]

    async def delete(self, name: str) -> bool:
        change = sa.delete(credentials).where(credentials.c.name == name)
        return await self._records.write(lambda c: c.execute(change).rowcount > 0)
