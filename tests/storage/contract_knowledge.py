"""The contract of a KnowledgeStore. See contract.py."""

from __future__ import annotations

import asyncio
import itertools

import pytest
from tests.storage.contract import OpenStores, result

from cco_sidecar.core.announcements import of_result
from cco_sidecar.core.clock import timestamp
from cco_sidecar.core.errors import SidecarError, not_found
from cco_sidecar.core.terms import Term
from cco_sidecar.storage import knowledge
from cco_sidecar.storage.base import Stores
from cco_sidecar.storage.knowledge import Wanted
from orchestra.v1.knowledge_service_pb2 import (
    KNOWLEDGE_KIND_DECISION,
    KNOWLEDGE_KIND_FINDING,
    KNOWLEDGE_STATUS_APPROVED,
    KNOWLEDGE_STATUS_PENDING,
    KnowledgeEntry,
)

_numbers = itertools.count(1)


def _entry(text: str, issue: str = "i", *, project: str = "p", approved: int = 0, **more: object) -> KnowledgeEntry:
    made = KnowledgeEntry(
        entry_id=f"know-{next(_numbers)}",
        project_id=project,
        issue_id=issue,
        kind=KNOWLEDGE_KIND_DECISION,
        status=KNOWLEDGE_STATUS_APPROVED if approved else KNOWLEDGE_STATUS_PENDING,
        text=text,
    )
    if approved:
        made.approved_at.CopyFrom(timestamp(approved))
    made.MergeFrom(KnowledgeEntry(**more))  # type: ignore[arg-type]
    return made


def _approved(at: int = 7) -> object:
    def make(entry: KnowledgeEntry) -> None:
        entry.status = KNOWLEDGE_STATUS_APPROVED
        entry.approved_at.CopyFrom(timestamp(at))

    return make


def _refuse(_: KnowledgeEntry) -> None:
    raise not_found("KNW_001", "no")


def _allow(_: KnowledgeEntry) -> None:
    return None


async def _texts(stores: Stores, *words: str, some: bool = False, **wanted: object) -> list[str]:
    terms = [Term(tuple(word.rstrip("*").split()), word.endswith("*")) for word in words]
    found = await stores.knowledge.search("p", terms, Wanted(**wanted), some=some)  # type: ignore[arg-type]
    return [each.entry.text for each in found]


async def _listed(stores: Stores, **wanted: object) -> list[str]:
    page = await stores.knowledge.page("p", Wanted(**wanted))  # type: ignore[arg-type]
    return [each.entry.text for each in page]


async def test_an_entry_survives_reopening(open_stores: OpenStores) -> None:
    made = await (await open_stores()).knowledge.add(_entry("use advisory locks"))
    stores = await open_stores()
    assert await stores.knowledge.by_id("p", made.entry_id) == made
    assert await stores.knowledge.by_id("q", made.entry_id) is None
    assert await _texts(stores, "locks") == ["use advisory locks"]


async def test_an_issue_has_a_text_of_a_kind_once(stores: Stores) -> None:
    first = await stores.knowledge.add(_entry("one thing"))
    assert await stores.knowledge.add(_entry(" one\n thing ")) == first
    for other in (_entry("one thing", "j"), _entry("one thing", kind=KNOWLEDGE_KIND_FINDING)):
        assert await stores.knowledge.add(other) == other
    assert len(await _listed(stores)) == 3


async def test_entries_are_selected_and_paged(stores: Stores) -> None:
    for made in (
        _entry("own, pending"),
        _entry("own, approved", approved=1),
        _entry("other, pending", "j"),
        _entry("other, approved", "j", approved=2, kind=KNOWLEDGE_KIND_FINDING),
        _entry("of another project", project="q"),
    ):
        await stores.knowledge.add(made)
    assert await _listed(stores) == ["other, approved", "other, pending", "own, approved", "own, pending"]
    assert await _listed(stores, reader="i") == ["other, approved", "own, approved", "own, pending"]
    assert await _listed(stores, issue="i") == ["own, approved", "own, pending"]
    assert await _listed(stores, issue="j", reader="i") == ["other, approved"]
    assert await _listed(stores, kind=KNOWLEDGE_KIND_FINDING) == ["other, approved"]
    assert await _listed(stores, status=KNOWLEDGE_STATUS_PENDING, reader="i") == ["own, pending"]
    pages, before = [], None
    while page := await stores.knowledge.page("p", Wanted(), before=before, limit=3):
        pages.append([each.entry.text for each in page])
        before = page[-1].number
    assert pages == [["other, approved", "other, pending", "own, approved"], ["own, pending"]]
    assert sorted(await _texts(stores, "approved", reader="i")) == ["other, approved", "own, approved"]


async def test_words_are_found(stores: Stores) -> None:
    for text in ("retry with backoff", "never retry a payment", "payments are idempotent", "retry retry retry"):
        await stores.knowledge.add(_entry(text))
    assert await _texts(stores, "retry", "payment") == ["never retry a payment"]
    assert sorted(await _texts(stores, "payment*")) == ["never retry a payment", "payments are idempotent"]
    assert await _texts(stores, "retry payment") == []
    some = await _texts(stores, "backoff", "idempotent", "nothing", some=True)
    assert sorted(some) == ["payments are idempotent", "retry with backoff"]
    assert (await _texts(stores, "retry", "payment", some=True))[0] == "never retry a payment"


async def test_an_approval_changes_what_others_get_and_the_version(stores: Stores) -> None:
    made = await stores.knowledge.add(_entry("locks"))
    assert (await stores.knowledge.version("p"))[0] == 0
    changed = await stores.knowledge.change("p", made.entry_id, _approved())  # type: ignore[arg-type]
    assert changed is not None and changed.status == KNOWLEDGE_STATUS_APPROVED
    assert await stores.knowledge.by_id("p", made.entry_id) == changed
    assert await _texts(stores, "locks", reader="j") == ["locks"]
    version = await stores.knowledge.version("p")
    assert version[0] == 1
    assert await stores.knowledge.change("q", made.entry_id, _approved()) is None  # type: ignore[arg-type]
    await stores.knowledge.add(_entry("a pending one"))
    assert await stores.knowledge.version("p") == version
    # One is forgotten, and another of an earlier time takes its place.
    await stores.knowledge.delete("p", made.entry_id, _allow)
    await stores.knowledge.add(_entry("another", approved=7))
    assert await stores.knowledge.version("p") not in (version, (0, 0, 0))


async def test_a_change_that_is_refused_changes_nothing(stores: Stores) -> None:
    made = await stores.knowledge.add(_entry("locks"))
    with pytest.raises(SidecarError):
        await stores.knowledge.change("p", made.entry_id, _refuse)
    with pytest.raises(SidecarError):
        await stores.knowledge.delete("p", made.entry_id, _refuse)
    assert await stores.knowledge.by_id("p", made.entry_id) == made


async def test_a_deleted_entry_is_nowhere(stores: Stores) -> None:
    made = await stores.knowledge.add(_entry("locks", approved=3))
    kept = await stores.knowledge.add(_entry("locks too", approved=4))
    assert not await stores.knowledge.delete("q", made.entry_id, _allow)
    before = await stores.knowledge.version("p")
    assert await stores.knowledge.delete("p", made.entry_id, _allow)
    assert not await stores.knowledge.delete("p", made.entry_id, _allow)
    assert await _texts(stores, "locks") == ["locks too"] == await _listed(stores)
    assert await stores.knowledge.version("p") != before
    assert await stores.knowledge.by_id("p", kept.entry_id) == kept
    # It may be learned again.
    again = await stores.knowledge.add(_entry("locks"))
    assert await stores.knowledge.by_id("p", again.entry_id) == again


async def test_the_oldest_pending_entries_of_an_issue_make_room(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("cco_sidecar.storage.sql.knowledge", knowledge.__name__):
        monkeypatch.setattr(f"{module}.MAX_PENDING", 3)
    await stores.knowledge.add(_entry("approved", approved=1))
    await stores.knowledge.add(_entry("of another issue", "j"))
    for number in range(5):
        await stores.knowledge.add(_entry(f"pending {number}"))
    assert await _listed(stores) == ["pending 4", "pending 3", "pending 2", "of another issue", "approved"]
    assert await _texts(stores, "pending", "0") == []


async def test_what_is_learned_from_a_result_is_stored_with_it_once(stores: Stores) -> None:
    made = result("i", "t")
    learned = [_entry("one", result_id=made.id), _entry("two", result_id=made.id, approved=5)]
    await stores.results.add(made, "run", of_result(made), "key", learned)
    assert await _listed(stores) == ["two", "one"]
    assert (await stores.knowledge.version("p"))[0] == 1
    # The repetition of the call stores neither.
    again = result("i", "t")
    await stores.results.add(again, "run", of_result(again), "key", [_entry("three", result_id=again.id)])
    assert await _listed(stores) == ["two", "one"]


async def test_many_at_once(stores: Stores) -> None:
    made = await asyncio.gather(*(stores.knowledge.add(_entry("the same")) for _ in range(20)))
    assert len({each.entry_id for each in made}) == 1
    assert await _listed(stores) == ["the same"]
