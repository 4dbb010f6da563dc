"""What the records database holds after a power failure at any moment, on a disk that forgets what was not synced.

CI tries some 60 states; `make crash-disk` ten thousand. A failure prints the seed that repeats it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import sqlite3
from pathlib import Path
from typing import NamedTuple

import pytest
import sqlalchemy as sa
from tests.storage.contract import result
from tests.support.crashing_disk import FAULTS, Recording
from tests.support.crashing_sqlite import CrashingVfs

from cco_sidecar.core.announcements import of_result
from cco_sidecar.core.errors import OutcomeUnknown, SettingsError, SidecarError
from cco_sidecar.storage.sql import checksums
from cco_sidecar.storage.sql.database import Database
from cco_sidecar.storage.sql.sqlite import Sqlite
from cco_sidecar.storage.sql.stores import SqlStores
from orchestra.v1.schema_service_pb2 import EventSchema

STATES = int(os.environ.get("RECORD_STATES", "60"))
SEED = int(os.environ.get("SEED", "0"))
_STATES_OF_ONE_RUN = 10
_OPERATIONS_OF_MIGRATIONS = 250
_NAMES = tuple(f"type_{number}" for number in range(6))


class Told(NamedTuple):
    """What a caller was told of a change: ``outcome`` is begun, acknowledged or refused; ``content`` is empty for a
    deletion."""

    outcome: str
    change: int
    name: str
    content: str


class Work:
    """Changes records, several at a time, and opens the database several times. A result is stored with its event."""

    def __init__(self, path: Path, recording: Recording, choose: random.Random) -> None:
        self._path = path
        self._recording = recording
        self._choose = choose
        self._changes = 0

    async def run(self) -> None:
        for _ in range(self._choose.randint(1, 3)):
            try:
                database = Database(Sqlite(self._path))
            except SettingsError:
                # The disk failed.
                continue
            stores = SqlStores(database)
            try:
                for _ in range(self._choose.randint(1, 12)):
                    names = self._choose.sample(_NAMES, self._choose.randint(1, 4))
                    await asyncio.gather(*(self._change(stores, name) for name in names), self._add(stores))
            finally:
                database.close()

    async def _change(self, stores: SqlStores, name: str) -> None:
        content = "" if self._choose.random() < 0.2 else self._content()
        schema = EventSchema(project_id="p", event_type=name)
        schema.schema["const"] = content
        work = stores.schemas.put(schema) if content else stores.schemas.delete("p", name)
        await self._told(name, content, work)

    async def _add(self, stores: SqlStores) -> None:
        made = result()
        made.id, content = f"result-{self._changes}", self._content()
        made.result.decisions.append(content)
        await self._told(made.id, content, stores.results.add(made, "", of_result(made)))

    def _content(self) -> str:
        self._changes += 1
        return f"{self._changes} " + "x" * self._choose.choice((0, 100, 9000))

    async def _told(self, name: str, content: str, work: object) -> None:
        self._changes += 1
        number = self._changes
        self._recording.promise(Told("begun", number, name, content))
        try:
            await work  # type: ignore[misc]
        except OutcomeUnknown:
            return
        except SidecarError:
            self._recording.promise(Told("refused", number, name, content))
        else:
            self._recording.promise(Told("acknowledged", number, name, content))


def possible(told: list[Told]) -> dict[str, set[str]]:
    """What may be stored under each name."""
    found: dict[str, set[str]] = {name: {""} for name in _NAMES}
    for outcome, number, name, content in told:
        if outcome == "begun":
            found.setdefault(name, {""}).add(content)
        elif outcome == "acknowledged":
            later = {each.content for each in told if each.name == name and each.change > number}
            found[name] = {content} | (found[name] & later)
        elif content not in {each.content for each in told if each.name == name and each.change != number}:
            found[name].discard(content)
    return found


async def stored_in(path: Path) -> tuple[dict[str, str], list[str]]:
    """The contents by name, and the results that have an event."""
    database = Database(Sqlite(path))
    try:
        stores = SqlStores(database)
        contents = {each.event_type: each.schema["const"] for each in await stores.schemas.all()}
        numbers = await stores.results.page("p")
        contents |= {each.result.id: each.result.result.decisions[0] for each in numbers}
        events = [each.event.data["result_id"] for each in await stores.outbox.pending()]
        assert await database.problem() == ""
        return contents, events
    finally:
        database.close()


async def test_a_failed_sync_is_not_acknowledged_and_not_tried_again(tmp_path: Path) -> None:
    vfs = CrashingVfs(Recording(tmp_path), {})
    with vfs.installed(), contextlib.closing(Database(Sqlite(tmp_path / "records.db"))) as database:
        schemas = SqlStores(database).schemas
        for failing in ("sync", "write"):
            await schemas.put(EventSchema(project_id="p", event_type="before"))
            vfs.fail_next(failing)
            with pytest.raises(OutcomeUnknown) as unknown:
                await schemas.put(EventSchema(project_id="p", event_type=failing))
            assert unknown.value.code == "STR_001"
        await schemas.put(EventSchema(project_id="p", event_type="after"))
        assert {each.event_type for each in await schemas.all()} >= {"before", "after"}


async def test_what_is_known_of_results_is_right_after_an_unknown_outcome(tmp_path: Path) -> None:
    def commits_and_fails(connection: sa.Connection) -> None:
        connection.connection.commit()
        problem = sqlite3.OperationalError("disk I/O error")
        raise sa.exc.OperationalError("COMMIT", None, problem, connection_invalidated=True)

    with contextlib.closing(Database(Sqlite(tmp_path / "records.db"))) as database:
        results = SqlStores(database).results
        first, second = result(), result()
        await results.add(first, "", of_result(first))
        assert await results.stored_bytes("p") == first.ByteSize()
        version = await results.version("p", second.issue_id)
        sa.event.listen(sa.Engine, "commit", commits_and_fails)
        try:
            with pytest.raises(OutcomeUnknown):
                await results.add(second, "", of_result(second))
        finally:
            sa.event.remove(sa.Engine, "commit", commits_and_fails)
        assert await results.version("p", second.issue_id) > version
        assert await results.stored_bytes("p") == first.ByteSize() + second.ByteSize()


async def test_a_statement_that_fails_before_the_commit_has_stored_nothing(tmp_path: Path) -> None:
    vfs = CrashingVfs(Recording(tmp_path), {})
    with vfs.installed(), contextlib.closing(Database(Sqlite(tmp_path / "records.db"))) as database:

        def work(connection: sa.Connection) -> None:
            problem = sqlite3.OperationalError("disk I/O error")
            raise sa.exc.OperationalError("INSERT", None, problem, connection_invalidated=True)

        with pytest.raises(SidecarError) as refused:
            await database.write(work)
        assert refused.value.code == "STR_001" and not isinstance(refused.value, OutcomeUnknown)


async def test_a_sound_database_that_cannot_be_read_is_not_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = Sqlite(tmp_path / "records.db")
    with contextlib.closing(Database(backend)) as database:
        await SqlStores(database).schemas.put(EventSchema(project_id="p", event_type="x"))
    interrupted: list[int] = []

    def add_function(connection: sqlite3.Connection) -> None:
        def fails_from_now_on(*_: object) -> int:
            interrupted.append(1)
            return 0

        connection.create_function(checksums.FUNCTION, -1, fails_from_now_on, deterministic=True)
        connection.set_progress_handler(lambda: len(interrupted), 1)

    monkeypatch.setattr(checksums, "add_function", add_function)
    assert backend.integrity() == "" and interrupted


@pytest.mark.parametrize("faults", [False, True], ids=["sound disk", "failing disk"])
def test_nothing_acknowledged_is_lost_and_nothing_else_appears(tmp_path: Path, faults: bool) -> None:
    outcomes: dict[str, int] = {}
    for run in range(max(1, STATES // _STATES_OF_ONE_RUN // 2)):
        seed = SEED + run
        choose = random.Random(seed)
        directory = tmp_path / f"run-{run}"
        directory.mkdir()
        recording = Recording(directory)
        # While the tables are made, or later.
        first = run % 2 * _OPERATIONS_OF_MIGRATIONS
        at = choose.sample(range(first, first + _OPERATIONS_OF_MIGRATIONS), 5) if faults else []
        vfs = CrashingVfs(recording, {number: choose.choice(FAULTS) for number in at})
        with vfs.installed():
            asyncio.run(Work(directory / "records.db", recording, choose).run())
        for _, (outcome, *_rest) in recording.promises:
            outcomes[outcome] = outcomes.get(outcome, 0) + 1
        for after, into, where in recording.crashes(seed, choose, _STATES_OF_ONE_RUN, tmp_path / f"states-{run}"):
            try:
                contents, events = asyncio.run(stored_in(into / "records.db"))
            except (SettingsError, SidecarError) as problem:
                raise AssertionError(f"{where}: {problem}") from problem
            stored = sorted(name for name in contents if name.startswith("result"))
            assert sorted(events) == stored, f"{where}: the events are those of {events}"
            for name, allowed in possible(recording.kept(after)).items():
                found = contents.pop(name, "")
                short = sorted(content[:9] for content in allowed)
                assert found in allowed, f"{where}: '{name}' is '{found[:9]}' and not one of {short}"
            assert not contents, f"{where}: {contents} appeared"
    print(outcomes)
    assert outcomes["acknowledged"] > outcomes["begun"] / 2
    assert bool(outcomes["acknowledged"] < outcomes["begun"]) == faults
