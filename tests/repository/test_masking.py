"""Masking: every known form of key is found; ordinary code is left alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cco_sidecar.repository.masking import is_secret_file, mask

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
        ('auth_token: "x"', 'auth_token: "x"'),
        ("Authorization: Bearer abcdef0123456789abcdef", "Authorization: Bearer [masked]"),
        ('"github_token": "a8f5f167f44f4964e6c998dee827110c"', '"github_token": "[masked]"'),
        ('token_type = "authorization_code"', 'token_type = "authorization_code"'),
        ("git clone https://a1b2c3d4e5f6@example.com/x", "git clone https://[masked]@example.com/x"),
        ("ssh://git@example.com/x.git", "ssh://git@example.com/x.git"),
        ("url = 'https://example.com:8080/x@y'", "url = 'https://example.com:8080/x@y'"),
        ("task-force and risk-averse people", "task-force and risk-averse people"),
    ],
)
def test_assignments(text: str, expected: str) -> None:
    assert mask(text)[0] == expected


@pytest.mark.parametrize(
    "line", ["password: hunter2hunter2", "DB_PASSWORD=hunter2hunter2", "export API_KEY=hunter2hunter2"]
)
def test_unquoted_values_of_settings(line: str) -> None:
    assert mask(line, "yaml")[0].endswith("[masked]")
    assert mask(line, "python") == (line, 0)


@pytest.mark.parametrize(
    "text",
    [
        "secret-" * 20_000,
        "a-" * 50_000 + " secret",
        "eyJaaaaaaaaaa-" * 10_000,
        "://a:" * 30_000,
        "-----BEGIN A " * 10_000,
    ],
)
@pytest.mark.timeout(60)
def test_masking_does_not_backtrack(text: str) -> None:
    """A backtracking expression needs hours for these, so the time limit fails it."""
    masked, _ = mask(text, "yaml")
    assert len(masked) <= len(text) + len("[masked]")


def test_private_keys_even_when_truncated() -> None:
    masked, count = mask("before\n-----BEGIN RSA PRIVATE KEY-----\nMIIE\nMORE\n")
    assert masked == "before\n[masked]" and count == 1


@given(st.text(max_size=300))
def test_masking_twice_changes_nothing(text: str) -> None:
    once, _ = mask(text)
    assert mask(once)[0] == once


@pytest.mark.parametrize("path", [".env", "a/.env.local", "id_rsa", "x/server.key", "credentials.json", ".aws/config", "secrets.yaml", "prod.tfvars", "service-account-1.json", ".ENV", "x/ID_RSA", "server.PEM", ".env-prod", "prod.tfvars.json", "kubeconfig"])  # fmt: skip
def test_secret_files(path: str) -> None:
    assert is_secret_file(path)


@pytest.mark.parametrize("path", [".env.example", "src/secrets.py", "docs/credentials.md", "keyboard.py", "environment.yml", "a.tfvars.example", "src/credentials/Form.tsx", "secret.cs"])  # fmt: skip
def test_files_without_secrets(path: str) -> None:
    assert not is_secret_file(path)
