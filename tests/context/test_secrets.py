"""Masking: every known form of key is found; ordinary code is left alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cco_sidecar.context.secrets import is_secret_file, mask

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghij"


@pytest.mark.parametrize(
    "key",
    [
        "AKIA" + "IOSFODNN7ABCDEFG",
        "ghp_" + LETTERS,
        "github_pat_" + LETTERS,
        "sk-ant-" + LETTERS,
        "sk-" + LETTERS,
        "sk_live_" + LETTERS[:24],
        "xoxb-" + "123456789012-abcdef",
        "AIza" + LETTERS[:35],
        "glpat-" + LETTERS[:20],
        "hf_" + LETTERS,
        "eyJhbGciOiJIUzI1NiJ9." + "eyJzdWIiOiJ4In0abc." + LETTERS,
    ],
)
@pytest.mark.parametrize("line", ["{}", 'key = "{}"', "export KEY={}", "https://example.com/?k={}", "- {}\n"])
def test_known_keys(key: str, line: str) -> None:
    masked, count = mask(line.format(key))
    assert key not in masked and count == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('password = "correct horse"', 'password = "correct horse"'),
        ('password = "c0rrecth0rse"', 'password = "[masked]"'),
        ('"api_key": "abcd1234efgh"', '"api_key": "[masked]"'),
        ("DB = 'postgres://kim:s3cr3tword@db/x'", "DB = 'postgres://kim:[masked]@db/x'"),
        ('password = "your-password-here"', 'password = "your-password-here"'),
        ("password = os.environ['PASSWORD']", "password = os.environ['PASSWORD']"),
        ("def check_password(password): ...", "def check_password(password): ..."),
        ("url = 'https://example.com:8080/x@y'", "url = 'https://example.com:8080/x@y'"),
        ("task-force and risk-averse people", "task-force and risk-averse people"),
    ],
)
def test_assignments(text: str, expected: str) -> None:
    assert mask(text)[0] == expected


def test_private_keys_also_cut_off() -> None:
    masked, count = mask("before\n-----BEGIN RSA PRIVATE KEY-----\nMIIE\nMORE\n")
    assert masked == "before\n[masked]" and count == 1


@given(st.text(max_size=300))
def test_masking_twice_changes_nothing(text: str) -> None:
    once, _ = mask(text)
    assert mask(once)[0] == once


@pytest.mark.parametrize("path", [".env", "a/.env.local", "id_rsa", "x/server.key", "credentials.json", ".aws/config", "secrets.yaml", "prod.tfvars", "service-account-1.json"])  # fmt: skip
def test_secret_files(path: str) -> None:
    assert is_secret_file(path)


@pytest.mark.parametrize("path", [".env.example", "src/secrets.py", "docs/credentials.md", "keyboard.py", "environment.yml", "a.tfvars.example"])  # fmt: skip
def test_other_files(path: str) -> None:
    assert not is_secret_file(path)
