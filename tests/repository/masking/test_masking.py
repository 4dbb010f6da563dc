"""Masking: secrets are found with their lines; ordinary code is left alone."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cco_sidecar.repository.masking import is_secret_file, mask, mask_file

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghij"
MIXED = "k7Qw2ZrT9mXc4VbN8sLd5FgH3jPy6UaE1oR0iW"


def masked(text: str, path: str = "app.py") -> str:
    return mask_file(text.encode(), path)[0].decode()


@pytest.mark.parametrize(
    "key",
    [
        "AKIA" + "IOSFODNN7ABCDEFG",
        "ghp_" + LETTERS,
        "github_pat_" + LETTERS,
        "sk-ant-" + LETTERS,
        "sk-" + MIXED[:30],
        "sk_live_" + LETTERS[:24],
        "xoxb-" + "123456789012-abcdef",
        "xapp-1-" + MIXED,
        "AIza" + LETTERS[:35],
        "glpat-" + LETTERS[:20],
        "hf_" + LETTERS,
        "hvs." + MIXED[:24],
        "whsec_" + MIXED[:32],
        "eyJhbGciOiJIUzI1NiJ9." + "eyJzdWIiOiJ4In0abc." + LETTERS,
    ],
)
@pytest.mark.parametrize("line", ["{}", 'key = "{}"', "export KEY={}", "https://service.io/?k={}", "- {}\n", "f('{}')"])
def test_known_keys(key: str, line: str) -> None:
    text = line.format(key)
    assert masked(text) == line.format("[masked]") and mask(text) == line.format("[masked]")


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("application.properties", "spring.datasource.password=|Qw7-reed|"),
        (
            "appsettings.json",
            '"Blob": "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=|' + MIXED * 2 + '==|;"',
        ),
        ("web.config", 'connectionString="Server=db;User Id=sa;Password=|Tide77Kelp|;Encrypt=true"'),
        ("settings.py", 'api_key: str = "|' + MIXED + '|"'),
        ("settings.py", 'key = os.getenv("API_KEY", "|' + MIXED + '|")'),
        ("client.py", 'headers = {"Authorization": "Basic |YWRtaW46T3R0ZXI3NyE=|"}'),
        ("config.xml", "<password>|Marsh!Fern9|</password>"),
        ("secret.yml", "kind: Secret\nmetadata:\n  name: db\ndata:\n  user: |YWRtaW4=|\n"),
        ("kube.yaml", "kind: Config\nusers:\n- name: me\n  user:\n    token: |" + MIXED + "|\n"),
        ("db.properties", "url=jdbc:mysql://db/shop?user=shop&password=|Heron2020|&ssl=true"),
        ("deploy.sh", "curl -u admin:|Peat&Smoke1| https://db.lan/_all"),
        ("upload.py", 'url = "https://store.blob.core.windows.net/c?sv=2022&sig=|' + MIXED + '%3D|"'),
        ("a.py", "DB = 'postgres://kim:|s3cr3tword|@db/x'"),
        ("a.json", '"password": "|c0rrecth0rse|"'),
        ("a.yaml", "password: |hunter2hunter2|"),
        (".env.txt", "DB_PASSWORD=|hunter2hunter2|"),
        ("run.sh", "export API_KEY=|hunter2hunter2hunter2|"),
        ("README.md", "git clone https://|a1b2c3d4e5f6|@git.lan/x"),
    ],
)
def test_values_of_names_and_places(path: str, text: str) -> None:
    before, _, after = text.partition("|")
    secret, _, rest = after.partition("|")
    assert masked(before + secret + rest, path) == f"{before}[masked]{rest}"


@pytest.mark.parametrize(
    "line",
    [
        "token = header.split()[1]",
        "next_token = logits.argmax(dim=-1)",
        'text.startswith("-----BEGIN PRIVATE KEY-----")\nrest = of(the, file)',
        "secretName: shop-tls",
        "'password' => 'required|min:8',",
        'private_key: "_RSAPrivateKey"',
        'password = "correct horse"',
        'password = "your-password-here"',
        "password = os.environ['PASSWORD']",
        "def check_password(password): ...",
        'auth_token: "x"',
        'token_type = "authorization_code"',
        "ssh://git@example.com/x.git",
        "url = 'https://example.com:8080/x@y'",
        "task-force and risk-averse people",
        "DB_PASSWORD=${DB_PASSWORD}",
        "password: {{ vault_password }}",
        "password: hunter2hunter2 if python",
    ],
)
@pytest.mark.parametrize("path", ["app.py", "app.yaml"])
def test_what_is_no_secret(path: str, line: str) -> None:
    assert masked(line, path) == line


def test_an_unquoted_value_of_code_is_code() -> None:
    assert masked("password=hunter2hunter2", "app.py") == "password=hunter2hunter2"


def test_findings_name_line_and_rule() -> None:
    key = "-----BEGIN RSA PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQ\nAoIBAQC7VJTUt9Us8cKjMzEfYy\n-----END RSA PRIVATE KEY-----"
    text = f'first = 1\ntoken = "ghp_{LETTERS}"\n\n{key}\npassword = "Qw7-reed!"\n'
    _, findings = mask_file(text.encode(), "app.py")
    assert [tuple(each) for each in findings] == [
        (2, "github-token"),
        (5, "private-key"),
        (6, "private-key"),
        (8, "password"),
    ]


def test_a_truncated_private_key_is_masked_and_what_follows_is_not() -> None:
    text = "before\n-----BEGIN RSA PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQ\n\ndef after(): ...\n"
    assert masked(text) == "before\n-----BEGIN RSA PRIVATE KEY-----\n[masked]\n\ndef after(): ...\n"


@pytest.mark.parametrize(
    "text",
    [
        "secret-" * 20_000,
        "a-" * 50_000 + " secret",
        "eyJaaaaaaaaaa-" * 10_000,
        "://a:" * 30_000,
        "-----BEGIN A " * 10_000,
        'password = "' + "\\x" * 20_000,
        'token["' + "\\" * 20_000,
        "password=" * 10_000,
        "curl " * 20_000,
        "password\n" * 20_000,
        "-----BEGIN PRIVATE KEY-----" * 5_000,
        "kind: Secret\ndata:\n" + "  \n" * 20_000,
        "api_key" + " " * 50_000,
        *(
            part * (100_000 // len(part))
            for part in (
                "fm1_",
                "ops_eyJ_",
                "eyJhbGciOi-",
                "glpat-",
                "xoxb-",
                "wallet",
                "okta ",
                "q~",
                "token ",
                "password x ",
                "machine a login b password ",
                "token=" * 690 + "\n",
                "client(",
                "a.a.a.a@//",
                "x-token-",
                "pass: ",
                "-----BEGIN PRIVATE KEY-----" + " " * 60,
                "vault" * 40 + " s.AbCdEfGhIjKlMnOpQrStUv12 " * 9,
                "token" * 4 + (".token" * 4) * 4 + " ",
                "eyJ_" * 499 + ".eyJ_" + "eyJ_" * 990 + " ",
            )
        ),
    ],
)
@pytest.mark.timeout(60)
def test_masking_does_not_backtrack(text: str) -> None:
    """An expression that backtracks needs hours for these, so the time limit fails it."""
    for path in ("app.py", "app.yaml"):
        assert len(masked(text, path)) <= 3 * len(text)


@pytest.mark.parametrize(
    "text",
    [
        "mysql -p1x" + "é" * 80,
        "curl -u admin:1x2" + "é" * 120,
        "login me password 1x2" + "é" * 120,
        "identified by 1x2" + "é" * 40,
        "'django-insecure-a1b21" + "é" * 80,
        "kind: Config\n  token: 1" + "é" * 12_000,
    ],
)
def test_no_letter_is_cut(text: str) -> None:
    for extra in range(4):
        data, _ = mask_file((text[:22] + "x" * extra + text[22:]).encode(), "a.yaml")
        data.decode()
    assert mask(text)


def test_a_private_key_in_a_string_stays_a_string() -> None:
    body = "MIIEvQIBADANBgkqhkiG9w0BAQ"
    key = f"-----BEGIN PRIVATE KEY-----\n{body}\n{body}\nShort=\n-----END PRIVATE KEY-----\n"
    left = json.loads(masked(json.dumps({"private_key": key}), "account.json"))["private_key"]
    assert left == "-----BEGIN PRIVATE KEY-----\n[masked]\n[masked]\n[masked]\n-----END PRIVATE KEY-----\n"


@pytest.mark.parametrize(
    ("path", "text", "expected"),
    [
        ("a.py", f'password = "ghp_{LETTERS}-Rest!of8"', 'password = "[masked]"'),
        ("s.yaml", "kind: Secret\r\nstringData:\r\n  a: |\r\n    hello-Kelp77\r\n", None),
        ("s.yaml", "kind: Secret\ndata:\n  a: YWRtaW4= # user\n", "kind: Secret\ndata:\n  a: [masked] # user\n"),
        ("k.txt", f"Private-Lines: 1\n{MIXED}\nPrivate-MAC: 00aa", "Private-Lines: 1\n[masked]\nPrivate-MAC: 00aa"),
    ],
)
def test_all_of_a_secret_and_nothing_else(path: str, text: str, expected: str | None) -> None:
    assert masked(text, path) == (expected or text.replace("hello-Kelp77", "[masked]"))


@pytest.mark.parametrize(
    "line",
    [
        '["-----BEGIN PRIVATE KEY-----", "CERTIFICATE", "ATTRIBUTE"]',
        "cursor.execute(\"UPDATE users SET password = %s WHERE token = 'reset_v2'\", (pw,))",
    ],
)
def test_code_about_secrets(line: str) -> None:
    assert masked(line) == line


def test_what_follows_a_masked_value_is_no_value_of_the_same_name() -> None:
    line = f"app_token: 'ghs_{LETTERS}'   name = \"hetzner-01\""
    once = masked(line, "a.yaml")
    assert once == "app_token: '[masked]'   name = \"hetzner-01\"" == masked(once, "a.yaml")


@given(st.text(max_size=300))
def test_masking_twice_changes_nothing(text: str) -> None:
    once = mask(text)
    assert mask(once) == once


@given(st.lists(st.sampled_from(['password = "', "token: ", "ghp_" + LETTERS, "Qw7-reed!", '"', "\n", "'", " ", "=", "://", "@", "-----BEGIN PRIVATE KEY-----", MIXED, "curl -u a:"]), max_size=12))  # fmt: skip
def test_any_mixture_is_masked_in_place(parts: list[str]) -> None:
    text = "".join(parts)
    left = masked(text, "app.yaml")
    at = 0
    for part in left.split("[masked]"):
        at = text.index(part, at) + len(part)
    assert "ghp_" + LETTERS not in left or (LETTERS + "ghp_") in text or (MIXED + "ghp_") in text


@pytest.mark.parametrize("path", [".env", "a/.env.local", "id_rsa", "x/server.key", "credentials.json", ".aws/config", "secrets.yaml", "prod.tfvars", "service-account-1.json", ".ENV", "x/ID_RSA", "server.PEM", ".env-prod", "prod.tfvars.json", "kubeconfig"])  # fmt: skip
def test_secret_files(path: str) -> None:
    assert is_secret_file(path)


@pytest.mark.parametrize("path", [".env.example", "src/secrets.py", "docs/credentials.md", "keyboard.py", "environment.yml", "a.tfvars.example", "src/credentials/Form.tsx", "secret.cs", "docs/guide.asc"])  # fmt: skip
def test_files_without_secrets(path: str) -> None:
    assert not is_secret_file(path)


@pytest.mark.parametrize(
    ("path", "before", "after"),
    [
        ("a.yaml", "password: >-\n  ", "\nother: 1\n"),
        ("a.yaml", "db:\n  password: |\n    ", "\n  user: me\n"),
        ("a.yml", "password: &pw ", "\n"),
        ("a.yml", "password: !!str ", "\n"),
        ("a.py", 'PASSWORD = """', '"""\n'),
        ("a.py", 'PASSWORD = (\n    "', '"\n)\n'),
        ("a.txt", "postgres://admin:", "@db.internal/app\n"),
        ("a.txt", "redis://:", "@cache\n"),
    ],
)
@pytest.mark.parametrize("password", ["Tr0ub4dor9Kelp", "Tr0ub4dor@9Kelp"])
def test_a_password_on_another_line_or_after_a_tag(path: str, before: str, after: str, password: str) -> None:
    assert masked(f"{before}{password}{after}", path) == f"{before}[masked]{after}"


def test_a_slash_in_the_password_of_a_url_without_a_user() -> None:
    assert masked("url = redis://:kq8/Lm2Pv7Tz@cache", "a.txt") == "url = redis://:[masked]@cache"


@pytest.mark.parametrize(
    "text",
    [
        "http://localhost:3000/@vite/client",
        "https://a.example:8080/x/y@z",
        "password: |\n  some words of a text\n",
        "passwordPolicy: |\n  strict1234\n",
        'password = """Reads the password."""\n',
        "db_password: !vault |\n  $ANSIBLE_VAULT;1.1;AES256\n",
    ],
)
def test_what_only_looks_like_it_is_left_alone(text: str) -> None:
    assert masked(text, "a.yaml") == text
