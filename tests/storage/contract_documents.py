"""The contract of a DocumentStore. See contract.py."""

from __future__ import annotations

import asyncio
import itertools

import pytest
from tests.storage.contract import OpenStores

from cco_sidecar.core.errors import SidecarError, not_found
from cco_sidecar.core.terms import Term, terms_of
from cco_sidecar.storage.base import Stores
from cco_sidecar.storage.documents import MAX_REVISIONS, MAX_SEARCHED_BYTES, Change
from orchestra.v1 import event_service_pb2 as event_pb
from orchestra.v1.document_service_pb2 import (
    DOCUMENT_RELATION_TYPE_PARENT_CHILD,
    DOCUMENT_RELATION_TYPE_PREDECESSOR_SUCCESSOR,
    DOCUMENT_RELATION_TYPE_RELATED,
    Document,
    DocumentRelation,
    DocumentRelationType,
    DocumentRevision,
)

_numbers = itertools.count(1)
_EVENT = event_pb.Event(event_type="document_changed")
_QUOTA = 2**30


def _document(text: str | bytes = "some text", **more: object) -> tuple[Document, bytes, DocumentRevision]:
    data = text.encode() if isinstance(text, str) else text
    made = Document(document_id=f"doc_{next(_numbers)}", project_id="p", filename="a.md", revision=1)
    made.MergeFrom(Document(**more))  # type: ignore[arg-type]
    made.size_bytes = len(data)
    if isinstance(text, str):
        made.total_chars = len(text)
    return made, data, DocumentRevision(revision=1)


async def _add(stores: Stores, text: str | bytes = "some text", **more: object) -> Document:
    made = _document(text, **more)
    await stores.documents.add(*made, _EVENT, _QUOTA)
    return made[0]


def _written(text: str | bytes, **more: object) -> object:
    """A change of the content."""

    def make(document: Document, _: bytes) -> Change:
        document.revision += 1
        document.ClearField("total_chars")
        if isinstance(text, str):
            document.total_chars = len(text)
        data = text.encode() if isinstance(text, str) else text
        return Change(document, data, DocumentRevision(revision=document.revision), _EVENT)

    return make


async def _names(stores: Stores, *words: str, prefix: bool = False, **more: object) -> list[str]:
    terms = [Term(tuple(word.split()), prefix) for word in words]
    found = await stores.documents.search("p", terms, **more)  # type: ignore[arg-type]
    return [each.document.filename for each in found]


async def test_a_document_is_found_with_its_content_and_event(open_stores: OpenStores) -> None:
    one = await open_stores()
    made, data, revision = _document("umlauts: äöü", tags=["a"], metadata={"k": "v"})
    announced = await one.documents.add(made, data, revision, _EVENT, _QUOTA)
    stores = await open_stores()
    assert list(await stores.outbox.pending()) == [announced]
    assert await stores.documents.by_id("p", made.document_id) == made
    assert await stores.documents.content("p", made.document_id) == (made, revision, data)
    for project, document_id in (("other", made.document_id), ("p", "doc_0")):
        assert await stores.documents.by_id(project, document_id) is None
        assert await stores.documents.content(project, document_id) is None
        assert await stores.documents.revisions(project, document_id) == []
        assert await stores.documents.change(project, document_id, _written("x"), _QUOTA) is None  # type: ignore[arg-type]
        assert await stores.documents.delete(project, document_id, lambda _: _EVENT) == []
    assert len(await stores.outbox.pending()) == 1


async def test_a_list_is_by_name_and_all_tags(stores: Stores) -> None:
    for name, tags in (("A.md", "xy"), ("b_1.md", "x"), ("b%1.txt", "y"), ("c.md", "")):
        await _add(stores, filename=name, tags=tags)
    await _add(stores, filename="other.md", project_id="q", tags="x")

    async def listed(**more: object) -> list[str]:
        return [each.document.filename for each in await stores.documents.page("p", **more)]  # type: ignore[arg-type]

    assert await listed() == ["c.md", "b%1.txt", "b_1.md", "A.md"]
    assert await listed(name="a.M") == ["A.md"]
    assert await listed(name="_") == ["b_1.md"] and await listed(name="%") == ["b%1.txt"]
    assert await listed(tags=["x"]) == ["b_1.md", "A.md"]
    assert await listed(tags=["x", "y"]) == ["A.md"] and await listed(tags=["z"]) == []
    first = await stores.documents.page("p", limit=2)
    assert await listed(before=first[-1].number) == ["b_1.md", "A.md"]


async def test_a_change_keeps_the_revisions(stores: Stores) -> None:
    made = await _add(stores, "first", tags=["a"])
    changed = await stores.documents.change("p", made.document_id, _written("second"), _QUOTA)  # type: ignore[arg-type]
    assert changed is not None and changed.document.revision == 2

    def retagged(document: Document, data: bytes) -> Change:
        assert data == b"second"
        document.tags[:] = ["b"]
        return Change(document, None, None, _EVENT)

    await stores.documents.change("p", made.document_id, retagged, _QUOTA)
    found = await stores.documents.by_id("p", made.document_id)
    assert found is not None and (found.revision, found.tags) == (2, ["b"])
    assert [each.revision for each in await stores.documents.revisions("p", made.document_id)] == [2, 1]
    for revision, text in ((None, b"second"), (2, b"second"), (1, b"first")):
        content = await stores.documents.content("p", made.document_id, revision)
        assert content is not None and content.data == text
    assert await stores.documents.content("p", made.document_id, 3) is None
    assert [each.document.filename for each in await stores.documents.page("p", tags=["a"])] == []
    assert len(await stores.outbox.pending()) == 3


async def test_only_so_many_revisions_are_kept(stores: Stores) -> None:
    made = await _add(stores, "0")
    for number in range(1, MAX_REVISIONS + 3):
        await stores.documents.change("p", made.document_id, _written(str(number)), _QUOTA)  # type: ignore[arg-type]
    kept = [each.revision for each in await stores.documents.revisions("p", made.document_id)]
    assert kept == list(range(MAX_REVISIONS + 3, 3, -1))
    assert await stores.documents.content("p", made.document_id, 3) is None


async def test_changes_at_once_are_made_one_after_the_other(stores: Stores) -> None:
    made = await _add(stores, "")

    def longer(document: Document, data: bytes) -> Change:
        return _written(data.decode() + "x")(document, data)  # type: ignore[operator, no-any-return]

    await asyncio.gather(*(stores.documents.change("p", made.document_id, longer, _QUOTA) for _ in range(10)))
    content = await stores.documents.content("p", made.document_id)
    assert content is not None and (content.data, content.document.revision) == (b"x" * 10, 11)


async def test_a_refused_change_changes_nothing(stores: Stores) -> None:
    made = await _add(stores, "kept")

    def refused(*_: object) -> Change:
        raise not_found("DOC_001", "no")

    with pytest.raises(SidecarError):
        await stores.documents.change("p", made.document_id, refused, _QUOTA)
    with pytest.raises(SidecarError):
        await stores.documents.delete("p", made.document_id, refused)  # type: ignore[arg-type]
    content = await stores.documents.content("p", made.document_id)
    assert content is not None and content.data == b"kept"
    assert len(await stores.outbox.pending()) == 1 and await _names(stores, "kept") == ["a.md"]


async def test_a_deleted_document_leaves_nothing(stores: Stores) -> None:
    made = await _add(stores, "some words", tags=["a"])
    kept = await _add(stores, "some words", filename="kept.md", tags=["a"])
    assert await stores.documents.delete("p", made.document_id, lambda _: _EVENT) != []
    assert await stores.documents.by_id("p", made.document_id) is None
    assert [each.document for each in await stores.documents.page("p", tags=["a"])] == [kept]
    assert await _names(stores, "words") == ["kept.md"]
    assert await stores.documents.stored_bytes("p") == len("some words") + kept.ByteSize()


async def test_words_are_found_in_texts(stores: Stores) -> None:
    await _add(stores, "The architecture uses gRPC; événements arrive.", filename="a.md", tags=["x"])
    await _add(stores, "gRPC, gRPC, and more gRPC: see foo.bar_baz", filename="b.md", tags=["x", "y"])
    await _add(stores, b"\xffgRPC", filename="c.bin")
    await _add(stores, "gRPC", filename="d.md", project_id="q")
    assert sorted(await _names(stores, "grpc")) == ["a.md", "b.md"]
    assert await _names(stores, "grpc", "architecture") == ["a.md"]
    assert await _names(stores, "uses grpc") == ["a.md"] and await _names(stores, "grpc uses") == []
    assert await _names(stores, "archi", prefix=True) == ["a.md"] and await _names(stores, "archi") == []
    assert await _names(stores, "foo bar baz") == ["b.md"]
    assert await _names(stores, "événements") == await _names(stores, "evenements") == ["a.md"]
    assert await _names(stores, "grpc", tags=["y"]) == ["b.md"]
    assert len(await _names(stores, "grpc", limit=1)) == 1
    (found, *_) = await stores.documents.search("p", [Term(("architecture",))])
    assert found.data is not None and found.data.startswith(b"The architecture") and found.rank > 0


async def test_the_contents_of_a_search_are_bounded(stores: Stores) -> None:
    for _ in range(3):
        await _add(stores, "word " * (MAX_SEARCHED_BYTES // 10))
    found = await stores.documents.search("p", [Term(("word",))])
    assert [each.data is None for each in found] == [False, False, True]


async def test_a_page_has_a_megabyte(stores: Stores) -> None:
    for number in range(4):
        await _add(stores, filename=f"{number}", metadata={"k": "x" * 400_000})
    page = await stores.documents.page("p")
    assert [each.document.filename for each in page] == ["3", "2"]
    assert [each.document.filename for each in await stores.documents.page("p", before=page[-1].number)] == ["1", "0"]


async def test_the_words_of_a_changed_text_are_those_of_the_new_one(stores: Stores) -> None:
    made = await _add(stores, "before")
    for text in ("after", b"\xff", "again"):
        await stores.documents.change("p", made.document_id, _written(text), _QUOTA)  # type: ignore[arg-type]
        for word in ("before", "after", "again"):
            assert await _names(stores, word) == (["a.md"] if word == text else [])


async def test_the_size_of_all_revisions_counts(stores: Stores) -> None:
    made = await _add(stores, "12345")
    await _add(stores, "1", project_id="q")
    await stores.documents.change("p", made.document_id, _written("123"), _QUOTA)  # type: ignore[arg-type]
    sizes = [await stores.documents.stored_bytes(project) for project in ("p", "q", "r")]
    records = [sum(each.document.ByteSize() for each in await stores.documents.page(project)) for project in "pqr"]
    assert [size - record for size, record in zip(sizes, records, strict=True)] == [8, 1, 0]


async def _relate(
    stores: Stores,
    first: Document,
    second: Document,
    kind: DocumentRelationType = DOCUMENT_RELATION_TYPE_PARENT_CHILD,
    project: str = "p",
) -> DocumentRelation:
    relation = DocumentRelation(relation_id=f"rel_{next(_numbers)}", type=kind)
    relation.from_document_id, relation.to_document_id = first.document_id, second.document_id
    announced = await stores.documents.relate(relation, project, _EVENT)
    assert announced.number in [each.number for each in await stores.outbox.pending()]
    return relation


async def test_a_relation_is_seen_from_both_documents(open_stores: OpenStores) -> None:
    one = await open_stores()
    first, second, other = [await _add(one) for _ in range(3)]
    made = await _relate(one, first, second)
    also = await _relate(one, first, other, DOCUMENT_RELATION_TYPE_RELATED)
    again = await open_stores()
    assert await again.documents.relations("p", first.document_id) == [made, also]
    assert await again.documents.relations("p", second.document_id) == [made]
    assert await again.documents.relations("q", first.document_id) == []

    def note(relation: DocumentRelation) -> None:
        relation.from_note = "why"

    changed = await again.documents.change_relation("p", made.relation_id, note)
    assert changed is not None and changed.from_note == "why"
    assert await again.documents.change_relation("q", made.relation_id, note) is None
    assert await again.documents.unrelate("q", made.relation_id, lambda _: _EVENT) is None
    assert await again.documents.unrelate("p", made.relation_id, lambda _: _EVENT) is not None
    assert await again.documents.relations("p", second.document_id) == []


async def test_relations_that_make_no_sense_are_refused(open_stores: OpenStores) -> None:
    one = await open_stores()
    first, second, third = [await _add(one) for _ in range(3)]
    elsewhere = await _add(one, project_id="q")
    await _relate(one, first, second)
    await _relate(one, second, third)
    await _relate(one, first, third, DOCUMENT_RELATION_TYPE_RELATED)
    for pair, kind, text in (
        ((first, second), DOCUMENT_RELATION_TYPE_PARENT_CHILD, "this relation already"),
        ((third, first), DOCUMENT_RELATION_TYPE_RELATED, "this relation already"),
        ((first, third), DOCUMENT_RELATION_TYPE_PARENT_CHILD, "has a parent already"),
        ((third, first), DOCUMENT_RELATION_TYPE_PARENT_CHILD, "its own ancestor"),
    ):
        with pytest.raises(SidecarError, match=text) as refused:
            await _relate(one, *pair, kind)
        assert refused.value.code == "DOC_003"
    for pair in ((first, elsewhere), (elsewhere, first), (first, Document(document_id="none"))):
        with pytest.raises(SidecarError, match="not found"):
            await _relate(one, *pair)
    # In another direction it is another relation.
    await _relate(one, second, first, DOCUMENT_RELATION_TYPE_PREDECESSOR_SUCCESSOR)
    assert len(await one.documents.relations("p", first.document_id)) == 3


async def test_children_are_deleted_with_their_parents(open_stores: OpenStores) -> None:
    one = await open_stores()
    parent, child, grandchild, friend = [await _add(one, f"only {n}") for n in range(4)]
    await _relate(one, parent, child)
    await _relate(one, child, grandchild)
    await _relate(one, grandchild, friend, DOCUMENT_RELATION_TYPE_RELATED)
    refusal = not_found("DOC_001", "not this one")

    def refuse(document: Document) -> event_pb.Event:
        if document.document_id == grandchild.document_id:
            raise refusal
        return _EVENT

    with pytest.raises(SidecarError, match="not this one"):
        await one.documents.delete("p", parent.document_id, refuse)
    assert await one.documents.by_id("p", parent.document_id) is not None
    deleted = await one.documents.delete("p", parent.document_id, lambda _: _EVENT)
    assert [each.document_id for each in deleted] == [parent.document_id, child.document_id, grandchild.document_id]
    assert len({each.announcement.number for each in deleted}) == 3
    assert await one.documents.relations("p", friend.document_id) == []
    assert await _names(one, "only") == ["a.md"]


async def test_a_quota_counts_contents_revisions_and_records(stores: Stores) -> None:
    made = await _add(stores, "x" * 1000)
    stored = await stores.documents.stored_bytes("p")
    assert 1000 < stored < 1100
    document, data, revision = _document("y" * 500)
    with pytest.raises(SidecarError) as refused:
        await stores.documents.add(document, data, revision, _EVENT, stored + 500)
    assert refused.value.code == "STR_003"
    with pytest.raises(SidecarError) as refused:
        await stores.documents.change("p", made.document_id, _written("z" * 1001), stored + 900)  # type: ignore[arg-type]
    assert refused.value.code == "STR_003"

    def described(found: Document, _: bytes) -> Change:
        found.metadata["a"] = "m" * 900
        return Change(found, None, None, _EVENT)

    with pytest.raises(SidecarError):
        await stores.documents.change("p", made.document_id, described, stored + 899)
    assert await stores.documents.stored_bytes("p") == stored
    await stores.documents.change("p", made.document_id, described, stored + 1000)
    assert await stores.documents.stored_bytes("p") > stored + 900


async def test_many_at_once_stay_within_the_quota(stores: Stores) -> None:
    async def add() -> bool:
        document, data, revision = _document("x" * 1000)
        try:
            await stores.documents.add(document, data, revision, _EVENT, 5500)
        except SidecarError:
            return False
        return True

    added = await asyncio.gather(*(add() for _ in range(20)))
    assert sum(added) == 5


@pytest.mark.parametrize(
    ("text", "words", "others"),
    [
        ("这是一个文档，包含中文搜索测试。", ("中文", "搜索", "文 档"), ("英文",)),
        ("サンドボックス修正テスト", ("テスト", "修正"), ("テキスト",)),
        ("문서를 검색합니다", ("문서", "검색"), ("서문",)),
        ("重跑gen-itgc后", ("itgc", "重跑", "gen itgc"), ("itg",)),
        ("Le café crème", ("cafe", "CRÈME", "cre\u0300me"), ("caf",)),
    ],
)
async def test_words_of_many_writings(
    stores: Stores, text: str, words: tuple[str, ...], others: tuple[str, ...]
) -> None:
    made = await _add(stores, text)
    for word in words:
        found = await stores.documents.search("p", terms_of(f'"{word}"'))
        assert [each.document.document_id for each in found] == [made.document_id], word
    for word in others:
        assert not await stores.documents.search("p", terms_of(word)), word
    await stores.documents.change("p", made.document_id, _written("other"), _QUOTA)  # type: ignore[arg-type]
    assert not await stores.documents.search("p", terms_of(f'"{words[0]}"'))


async def test_a_family_is_limited(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cco_sidecar.storage.sql.relations.MAX_FAMILY", 4)
    one, two, three, four, five = [await _add(stores) for _ in range(5)]
    for parent, child in ((one, two), (two, three), (one, four)):
        await _relate(stores, parent, child, DOCUMENT_RELATION_TYPE_PARENT_CHILD)
    for parent, child in ((three, five), (five, one)):
        with pytest.raises(SidecarError, match="deleted together") as refused:
            await _relate(stores, parent, child, DOCUMENT_RELATION_TYPE_PARENT_CHILD)
        assert refused.value.code == "DOC_003"
