"""The rules of a project for its contexts: `.cco/context.toml`."""

from __future__ import annotations

from pathlib import Path

import pytest

from cco_sidecar.core.reasons import Signal
from cco_sidecar.repository.patterns import check_pattern
from cco_sidecar.repository.rules import Rules, RulesInvalid, parse_rules, read_rules


def test_what_each_key_says() -> None:
    rules = parse_rules(
        b"""include = ["src/**", "docs/**"]
exclude = ["docs/old/"]
always = ["/README.md"]
never = ["customers/**"]

[weights]
"src/core/**" = 2
"*.py" = 1.5

[signals]
recent_commits = 0.5
"""
    )
    assert [path for path in ("src/a.py", "docs/b.md", "docs/old/c.md", "tests/d.py") if rules.is_excluded(path)] == [
        "docs/old/c.md",
        "tests/d.py",
    ]
    assert rules.is_first("README.md") and not rules.is_first("docs/README.md")
    assert not rules.is_excluded("README.md")
    assert rules.is_barred("customers/a.csv") and not rules.is_barred("src/customers.py")
    assert [rules.factor(path) for path in ("src/core/a.py", "src/core/a.go", "b.py", "c")] == [3, 2, 1.5, 1]
    assert rules.signals == {"recent_commits": 0.5}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"include = [", "is not TOML"),
        (b"\xff", "is not TOML"),
        (b"exlude = []", "unknown key 'exlude'; did you mean 'exclude'?"),
        (b"never = 'a'", "never: expected a list of patterns"),
        (b"never = [1]", "never: expected a list of patterns"),
        (b"never = ['']", "is not a pattern"),
        (b"never = ['#x']", "matches nothing"),
        (b"always = ['a/**/b/**/c/**/d']", "more than 2 '**'"),
        (b"[signals]\nword = 1", "unknown signal 'word'; did you mean 'words'?"),
        (b"[signals]\nwords = -1", "must be a number from 0 to 100"),
        (b"[weights]\n'*.py' = true", "must be a number from 0 to 100"),
        (b"[weights]\n'*.py' = nan", "must be a number from 0 to 100"),
        (b"weights = []", "weights: expected a table of numbers"),
        (b"a" * 70_000, "larger than 32768 bytes"),
        (b"x" + b".x" * 5000 + b"=1", "too many parts"),
        (b"never = " + b"[" * 9000 + b"]" * 9000, "is nested too deeply"),
    ],
)
def test_what_is_wrong_is_named(text: bytes, said: str) -> None:
    with pytest.raises(RulesInvalid) as raised:
        parse_rules(text)
    assert said in str(raised.value)


def test_a_project_without_a_file_has_no_rules(tmp_path: Path) -> None:
    assert read_rules(tmp_path) == Rules()


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "real.toml").write_text("")
    (tmp_path / ".cco").mkdir()
    (tmp_path / ".cco" / "context.toml").symlink_to(tmp_path / "real.toml")
    with pytest.raises(RulesInvalid, match="cannot be read"):
        read_rules(tmp_path)


def test_a_directory_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "context.toml").write_text('never = ["x"]\n')
    (tmp_path / ".cco").symlink_to(tmp_path / "shared")
    with pytest.raises(RulesInvalid, match=r"is not a directory|its directory is a link"):
        read_rules(tmp_path)


def test_the_last_pattern_that_matches_decides() -> None:
    rules = parse_rules(b'never = ["*.csv", "!public.csv", "/secret/public.csv"]')
    barred = [path for path in ("a.csv", "public.csv", "x/public.csv", "secret/public.csv") if rules.is_barred(path)]
    assert barred == ["a.csv", "secret/public.csv"]


def test_many_stars_take_no_longer_than_one() -> None:
    # Backtracking would not end.
    rules = parse_rules(f'never = ["{"*a" * 30}b", "{"*a?[b-c]" * 20}*z"]'.encode())
    assert not rules.is_barred("a" * 240)
    assert rules.is_barred("xa" * 40 + "b") and rules.is_barred("aabaacaab" * 10 + "aab" * 10 + "z")


@pytest.mark.parametrize("pattern", ["*.py", "src/**/test_*.py", "/a/b/", "!x", "*a*b*"])
def test_ordinary_patterns_pass(pattern: str) -> None:
    check_pattern(pattern)


def test_the_names_of_the_signals_are_those_of_the_ranking() -> None:
    from cco_sidecar.ranking.chunks import Chunked
    from cco_sidecar.ranking.relevance import rank

    known = {
        name: {"a": 1.0}
        for name in ("named_by_task", "named_by_finding", "required", "named_by_decision", "uncommitted")
    }
    assert set(rank({"a": Chunked("a", b"word\n")}, "word", (), max_bytes=1, known=known).signals) == set(Signal)
