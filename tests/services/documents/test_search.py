"""What is searched for, and the parts of a text that have it."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cco_sidecar.core.errors import SidecarError
from cco_sidecar.core.terms import Term, terms_of
from cco_sidecar.services.documents import search
from cco_sidecar.services.documents.search import sections


@pytest.mark.parametrize(
    ("query", "terms"),
    [
        ("one Two", [Term(("one",)), Term(("two",))]),
        ('"one two" three', [Term(("one", "two")), Term(("three",))]),
        ("arch*", [Term(("arch",), prefix=True)]),
        ("foo.bar_baz*", [Term(("foo", "bar", "baz"), prefix=True)]),
        ('"open', [Term(("open",))]),
        ("* - a ** OR", [Term(("a",)), Term(("or",))]),
        ("żółw 🐢 x1", [Term(("zołw",)), Term(("x1",))]),
    ],
)
def test_words_phrases_and_beginnings(query: str, terms: list[Term]) -> None:
    assert terms_of(query) == terms


@pytest.mark.parametrize("query", ["", "   ", '""', "* & |", "🐢"])
def test_without_words_there_is_nothing_to_find(query: str) -> None:
    with pytest.raises(SidecarError, match="it has no words"):
        terms_of(query)


def test_there_are_not_too_many() -> None:
    assert len(terms_of(" ".join(map(str, range(32))))) == 32
    with pytest.raises(SidecarError, match="33 words"):
        terms_of(" ".join(map(str, range(33))))


def test_the_part_with_the_most_words_is_the_first() -> None:
    text = "alpha\n" + "x\n" * 2000 + "alpha beta\n" + "x\n" * 2000 + "beta gamma alpha\n"
    terms = terms_of("alpha beta gamma")
    found = sections(text, terms)
    assert [round(each.score, 2) for each in found] == [1.0, 0.67, 0.33]
    assert found[0].text.endswith("beta gamma alpha\n") and "alpha beta" in found[1].text
    assert found[2].offset == 0


def test_a_word_is_not_found_within_another() -> None:
    assert sections("starting art_1 artful", terms_of("art"))[0].score == 1
    assert sections("starting artful", terms_of("art")) == []
    assert sections("starting artful", terms_of("art*"))[0].score == 1
    assert sections("starting", terms_of("art*")) == sections("smart", terms_of("art")) == []
    assert sections("one\n  two", terms_of('"one two"'))[0].score == 1


@given(st.text(alphabet="ab \n", max_size=3000), st.lists(st.sampled_from(["a", "b", "ab", "ba*"]), min_size=1))
def test_parts_are_of_the_text_and_do_not_overlap(text: str, words: list[str]) -> None:
    terms = terms_of(" ".join(words[:4]))
    found = sections(text, terms)
    assert len(found) <= 3
    for each in found:
        assert each.text == text[each.offset : each.offset + each.limit] and 0 < each.limit <= 1000
        assert 0 < each.score <= 1
    places = sorted((each.offset, each.offset + each.limit) for each in found)
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(places))


@pytest.mark.parametrize(
    ("text", "query", "shown"),
    [
        ("Le café crème à Zürich", "cafe ZURICH", 1.0),
        ("这是一个文档，包含中文搜索测试。", "中文 文档", 1.0),
        ("문서를 검색합니다", "문서", 1.0),
        ("重跑gen-itgc后", "itgc 英", 0.5),
    ],
)
def test_parts_are_found_as_the_index_finds_them(text: str, query: str, shown: float) -> None:
    (found,) = sections(text, terms_of(query))
    assert (found.text, found.score) == (text, shown)


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("a" * 4_000_000 + " a", "a"),
        ("a " * 2_000_000 + "b", '"' + "a " * 60 + '"'),
        (("a" + " " * 1000) * 4000, '"a a a a a a a a b"'),
    ],
)
def test_the_work_is_bounded(text: str, query: str, monkeypatch: pytest.MonkeyPatch) -> None:
    looked = 0

    def counting(*arguments: Any) -> int:
        nonlocal looked
        looked += 1
        return end(*arguments)

    end = search._end
    monkeypatch.setattr(search, "_end", counting)
    sections(text, terms_of(query))
    assert looked <= search._MAX_PLACES


def test_a_term_that_is_asked_for_twice_counts_once() -> None:
    assert terms_of("a " * 40) == [Term(("a",))]
    with pytest.raises(SidecarError, match="65 words"):
        terms_of('"' + "a " * 65 + '"')
