"""Terms of a task, and where they stand in a text."""

from __future__ import annotations

import pytest

from cco_sidecar.ranking.words import Terms


def found(task: str, text: str) -> list[str]:
    terms = Terms(task)
    return [terms.names[hit.term] for hit in terms.find(text.encode())]


@pytest.mark.parametrize(
    ("task", "text", "names"),
    [
        ("caching of tokens", "cache cached Caches token TOKENS", ["cach", "cach", "cach", "token", "token"]),
        ("the token", "tokenizer detoken token_count getToken", ["token", "token"]),
        ("connection pool", "ConnectionPool connection_pool", ["connection", "pool", "connection", "pool"]),
        ("fix the bug in parser", "fix the bug in the parsers", ["parser"]),
        ("Fehler im Überlauf", "Überlauf überläuft", ["überlauf"]),
    ],
)
def test_where_terms_stand(task: str, text: str, names: list[str]) -> None:
    assert found(task, text) == names


def test_an_identifier_weighs_more_than_its_words_and_quotes_more_than_none() -> None:
    terms = Terms("change\ncall of maxRetryCount in a `worker` of the loop")
    weight = dict(zip(terms.names, terms.weights, strict=False))
    assert weight["maxretrycount"] > weight["retry"] == weight["loop"]
    assert weight["worker"] > weight["loop"]


def test_the_title_weighs_more_than_the_text() -> None:
    terms = Terms("queue overflow\n\nthe watcher")
    weight = dict(zip(terms.names, terms.weights, strict=False))
    assert weight["queu"] > weight["watcher"]


def test_neighbouring_words_are_a_pair_where_they_stand_together() -> None:
    terms = Terms("retry of the backoff policy")
    pairs = [hit.term for hit in terms.expanded(terms.find(b"backoff_policy, policy of a backoff, retryBackoff"))]
    names = len(terms.names)
    assert sum(term >= names for term in pairs) == 2


def test_a_compound_counts_for_its_parts() -> None:
    terms = Terms("getUserName of a user")
    hits = terms.expanded(terms.find(b"getUserName()"))
    assert {terms.names[hit.term] for hit in hits if hit.term < len(terms.names)} >= {"getusername", "user"}


def test_a_task_without_words_finds_nothing() -> None:
    terms = Terms("the of a !!!")
    assert terms.find(b"the of a") == [] and terms.names == []


def test_a_file_of_nothing_but_hits_costs_little() -> None:
    assert len(Terms("the queue").find(b"queue " * 100_000)) == 20_000
