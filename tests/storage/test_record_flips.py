"""What the records database serves after a bit on the disk has flipped: the truth, or an error.

CI tries a hundred flips; `make crash-disk` ten thousand. A failure prints the seed that repeats it.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.message import Message
from tests.storage.contract import agent, approval, result

from cco_sidecar.core.announcements import APPROVAL_REQUESTED, of_approval, of_result
from cco_sidecar.core.errors import SettingsError, SidecarError
from cco_sidecar.storage.base import SealedCredential, Stores
from cco_sidecar.storage.event_stores import ConsumerChange, StoredWebhook
from cco_sidecar.storage.sql.database import Database
from cco_sidecar.storage.sql.sqlite import Sqlite
from cco_sidecar.storage.sql.stores import SqlStores
from orchestra.v1.agent_service_pb2 import SpawnAgentRequest
from orchestra.v1.consumer_service_pb2 import Consumer, DeadLetter
from orchestra.v1.schedule_service_pb2 import Schedule
from orchestra.v1.schema_service_pb2 import EventSchema
from orchestra.v1.webhook_service_pb2 import Webhook

FLIPS = int(os.environ.get("FLIPS", "100"))
SEED = int(os.environ.get("SEED", "0"))
ISSUES = ("i-1", "i-2", "i-3")


async def fill(stores: Stores, choose: random.Random) -> None:
    """Every table gets rows: some that fit a page, some that need several."""
    for number in range(24):
        issue = choose.choice(ISSUES)
        made = result(issue)
        made.id = f"result-{number}"
        made.result.decisions.append(choose.randbytes(choose.choice((10, 200, 6000))).hex())
        await stores.results.add(made, f"session-{number % 5}", of_result(made))
        spawned = agent(issue_id=issue, tree=f"tree-{number % 4}", cause=f"cause-{number}")
        spawned.usage.cost_usd = number / 8
        await stores.agents.add(spawned, SpawnAgentRequest(task=f"task {number}"), created=number * 10**6)
        asked = approval(issue_id=issue)
        await stores.approvals.add(asked, of_approval(asked, APPROVAL_REQUESTED), f"cause-{number}")
        await stores.credentials.put(SealedCredential(f"NAME_{number}", choose.randbytes(60), number, number))
        await stores.revocations.revoke("agent", f"agent-{number}", float(number), 2e9)
        await stores.handover.set_position(f"p-{number}", number)
        await stores.schedules.put(Schedule(project_id="p", schedule_id=f"sch-{number}"))
        await stores.schemas.put(EventSchema(project_id="p", event_type=f"type_{number}"))
        hook = Webhook(project_id="p", name=f"hook-{number}", url="https://example.com")
        await stores.webhooks.put(StoredWebhook(hook, choose.randbytes(40), b"", 0))
        consumer = Consumer(project_id="p", name=f"consumer-{number % 4}")
        if number < 4:
            await stores.consumers.add(consumer)
        letter = DeadLetter(dead_letter_id=f"dl-{number}", project_id="p", consumer=consumer.name)
        await stores.consumers.save(ConsumerChange(consumer, [letter], [], []))


def reads(stores: Stores, database: Database) -> dict[str, Callable[[], Awaitable[Any]]]:
    """The questions that are asked of the records."""
    asked: dict[str, Callable[[], Awaitable[Any]]] = {
        "results": lambda: stores.results.page("p"),
        "latest results": lambda: stores.results.page("p", latest=True),
        "stored bytes": lambda: stores.results.stored_bytes("p"),
        "result totals": lambda: stores.results.totals(),
        "agents": lambda: stores.agents.page("p"),
        "unfinished agents": lambda: stores.agents.unfinished(),
        "agent totals": lambda: stores.agents.totals(),
        "approvals": lambda: stores.approvals.page("p"),
        "credentials": lambda: stores.credentials.all(),
        "revocations": lambda: stores.revocations.since(0),
        "positions": lambda: stores.handover.positions(),
        "consumers": lambda: stores.consumers.all(),
        "letters": lambda: stores.consumers.letter_page("p", ""),
        "schedules": lambda: stores.schedules.all(),
        "schemas": lambda: stores.schemas.all(),
        "webhooks": lambda: stores.webhooks.all(),
        "outbox": lambda: stores.outbox.pending(),
    }
    for issue in ISSUES:
        asked |= {
            f"results of {issue}": lambda issue=issue: stores.results.page("p", issue=issue),
            f"agents of {issue}": lambda issue=issue: stores.agents.page("p", issue=issue),
            f"spent on {issue}": lambda issue=issue: stores.agents.spent("p", issue=issue),
            f"outcomes of {issue}": lambda issue=issue: stores.results.outcomes("p", issue, before="result-23"),
        }
    for number in range(24):
        asked |= {
            f"credential {number}": lambda n=number: stores.credentials.get(f"NAME_{n}"),
            f"letter {number}": lambda n=number: stores.consumers.letter("p", f"dl-{n}"),
            f"session {number}": lambda n=number: stores.results.newest_of(f"session-{n % 5}"),
            f"tree {number}": lambda n=number: stores.agents.spent("p", tree=f"tree-{n % 4}"),
            f"cause {number}": lambda n=number: stores.agents.has_cause(f"cause-{n}"),
        }
    return asked


def records_in(answer: Any) -> Iterator[str]:
    """The messages and secrets in an answer, as text."""
    if isinstance(answer, Message | bytes):
        yield repr(answer)
    elif isinstance(answer, tuple | list):
        for each in answer:
            yield from records_in(each)


async def answers(path: Path) -> tuple[dict[str, Any], str]:
    """What is served, with the errors left out, and what the database says about its state."""
    database = Database(Sqlite(path))
    try:
        served: dict[str, Any] = {}
        for name, ask in reads(SqlStores(database), database).items():
            try:
                served[name] = await ask()
            except SidecarError as problem:
                assert problem.code == "STR_002", f"{name}: {problem}"
        return served, await database.problem()
    finally:
        database.close()


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sound") / "records.db"
    database = Database(Sqlite(path))
    asyncio.run(fill(SqlStores(database), random.Random(1)))
    database.close()
    assert not path.with_name("records.db-wal").exists()
    return path


def test_no_flipped_bit_is_served_as_true(sound: Path, tmp_path: Path) -> None:
    truth, problem = asyncio.run(answers(sound))
    assert problem == "" and all(truth.values())
    true = set(records_in(list(truth.values())))
    before = sound.read_bytes()
    refused = wrong = 0
    for number in range(FLIPS):
        seed = SEED + number
        flipped = bytearray(before)
        bit = random.Random(seed).randrange(len(before) * 8)
        flipped[bit // 8] ^= 1 << bit % 8
        path = tmp_path / f"{seed}.db"
        path.write_bytes(flipped)
        where = f"SEED={seed}, bit {bit % 8} of byte {bit // 8}"
        try:
            served, problem = asyncio.run(answers(path))
        except SettingsError:
            refused += 1
            continue
        finally:
            for each in tmp_path.glob(f"{seed}.db*"):
                each.unlink()
        for name, answer in served.items():
            strange = set(records_in(answer)) - true
            assert not strange, f"{where}: '{name}' serves {strange}"
        if len(served) < len(truth) or served != truth:
            wrong += 1
            assert problem, f"{where}: nothing says that the database is damaged"
    print(f"{FLIPS} flips: {refused} refused at the start, {wrong} found, {FLIPS - refused - wrong} changed nothing")
