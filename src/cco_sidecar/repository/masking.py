"""Keeps secrets out of contexts: secret files, and strings in files that look like keys."""

from __future__ import annotations

import re

from cco_sidecar.repository.patterns import Patterns

# Matched against the path in lower case.
_FILES = Patterns(
    [
        ".env", ".env.*", ".env-*", ".env_*", "*.env", "env.prod*", ".envrc", "*.pem", "*.key", "*.p12", "*.pfx",
        "*.jks", "*.keystore", "*.ppk", "*.asc", "*.gpg", "*.kdbx", "id_rsa*", "id_dsa*", "id_ecdsa*", "id_ed25519*",
        ".ssh/", ".aws/", ".gnupg/", ".kube/config", "kubeconfig*", ".netrc", "_netrc", ".npmrc", ".yarnrc.yml",
        ".pypirc", ".htpasswd", ".pgpass", ".my.cnf", ".git-credentials", ".dockercfg", ".docker/config.json",
        ".vault_pass*", ".vault-pass*", "credentials", "credentials.*", "*credentials.json", "*credentials.y*ml",
        "secrets.*", "secret.*", "*.secret", "*.secrets", "service-account*.json", "service_account*.json",
        "client_secret*.json", "*.tfstate", "*.tfstate.*", "*.tfvars", "*.tfvars.json", "*.ovpn", "operator.token",
    ]
)  # fmt: skip
# Templates are public: they name the settings, not the values.
_TEMPLATES = Patterns(["*.example", "*.sample", "*.template"])
_CODE = re.compile(
    r".*\.(?:py|pyi|go|rs|tsx?|jsx?|mjs|cjs|java|kts?|scala|cs|fs|rb|php|swift|dart|c|h|cc|cpp|hpp|exs?|erl|hs|ml|lua|vue"
    r"|svelte|md|mdx|rst|adoc|proto|html?|css|scss)"
)

# Key formats documented by their issuers. A match is a key, regardless of its surroundings.
_KNOWN = "|".join(
    (
        r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}",  # AWS access key id
        r"gh[pousr]_[A-Za-z0-9]{36,255}",  # GitHub
        r"github_pat_[A-Za-z0-9_]{22,255}",
        r"glpat-[A-Za-z0-9_\-]{20,}",  # GitLab
        r"xox[abeoprs]-[A-Za-z0-9\-]{10,}",  # Slack
        r"sk-(?:ant-|proj-|svcacct-)?[A-Za-z0-9_\-]{20,}",  # Anthropic, OpenAI
        r"[sr]k_(?:live|test)_[A-Za-z0-9]{16,}",  # Stripe
        r"AIza[A-Za-z0-9_\-]{35}",  # Google
        r"ya29\.[A-Za-z0-9_\-]{20,}",
        r"npm_[A-Za-z0-9]{36}",
        r"pypi-[A-Za-z0-9_\-]{50,}",
        r"SG\.[A-Za-z0-9_\-]{22}\.[A-Za-z0-9_\-]{43}",  # SendGrid
        r"hf_[A-Za-z0-9]{30,}",  # Hugging Face
        r"dop_v1_[a-f0-9]{64}",  # DigitalOcean
        r"eyJ[A-Za-z0-9_\-]{8,300}\.eyJ[A-Za-z0-9_\-]{8,4000}\.[A-Za-z0-9_\-]{8,1000}",  # JSON Web Token
        r"https://hooks\.slack\.com/services/[A-Za-z0-9/]{20,100}",
    )
)
_TOKENS = re.compile(rf"(?<![A-Za-z0-9_])(?:{_KNOWN})")
# Bound the repetitions: files are untrusted, and an expression that backtracks would block the process.
_PRIVATE_KEY = re.compile(
    r"-----BEGIN (?:[A-Z0-9]{1,20} ){0,3}PRIVATE KEY(?: BLOCK)?-----.*?"
    r"(?:-----END (?:[A-Z0-9]{1,20} ){0,3}PRIVATE KEY(?: BLOCK)?-----|\Z)",
    re.DOTALL,
)
_NAME = (
    r"(?<![\w\-])[\w\-]{0,64}?(?:passwd|password|passphrase|secret|api[_\-]?key|access[_\-]?key|auth[_\-]?token"
    r"|private[_\-]?key|account[_\-]?key)[\w\-]{0,64}"
)
# `password = "..."`, `"api_key": "..."`: a name that suggests a secret, and a literal value.
_QUOTED = re.compile(
    rf"(?P<name>(?:{_NAME})[\"']?[ \t]{{0,20}}(?::=|=>|:|=)[ \t]{{0,20}})(?P<quote>[\"'])"
    r"(?P<value>[^\"'\s\\]{8,200})(?P=quote)",
    re.IGNORECASE,
)
# `some_token = "..."`, `Bearer ...`: tokens contain digits; names of token types do not.
_LIVE = re.compile(
    r"(?P<name>(?:(?<![\w\-])[\w\-]{0,64}?token[\"']?[ \t]{0,20}[:=][ \t]{0,20}[\"']?|\bbearer[ \t]{1,4}))"
    r"(?P<value>(?=[^\"'\s]{0,200}[0-9])[A-Za-z0-9_\-./+=]{16,500})",
    re.IGNORECASE,
)
# `PASSWORD=...`, `password: ...` on a separate line, in files with unquoted values.
_BARE = re.compile(
    rf"(?P<name>^[ \t]{{0,80}}(?:export[ \t]{{1,4}}|-[ \t]{{1,4}})?(?:{_NAME})[ \t]{{0,20}}[:=][ \t]{{0,20}})"
    r"(?P<value>[^\s\"'#$<{\[(][^\s\"'#]{7,199})(?=[ \t]{0,20}(?:#|$))",
    re.IGNORECASE | re.MULTILINE,
)
# Credentials in a URL (RFC 3986, section 3.2.1).
_URL = re.compile(
    r"(?P<name>(?<![a-z0-9+.\-])[a-z][a-z0-9+.\-]{1,20}://(?:[^/\s:@'\"]{0,100}:)?)(?P<value>[^/\s:@'\"]{4,300})(?=@)",
    re.IGNORECASE,
)
_PLACEHOLDER = re.compile(
    r"(?i)(?:[^\n]{0,200}(?:example|changeme|change[_\-]me|placeholder|your[_\-]|dummy|redacted|xxxx|\*\*\*|\[masked\])"
    r"|[<\[{$%]|(?:test|fake|mock|sample|none|null|true|false|undefined|password|secret|string|git)\w{0,40}$)"
)
# Every match of the expressions above contains one of these.
_HINTS = re.compile(
    r"(?i)passw|passphrase|secret|api.?key|access.?key|account.?key|token|bearer|private.?key|://[^/\s]{0,400}@|AKIA|ASIA"
    r"|ABIA|ACCA|gh[pousr]_|github_pat_|glpat-|xox[abeoprs]-|sk-|[sr]k_|AIza|ya29|npm_|pypi-|SG\.|hf_|dop_v1|eyJ|hooks\.sl"
)
# Languages of configuration files. In other languages, an unquoted value is code.
_SETTINGS = frozenset({"yaml", "ini", "text", "shell", "dockerfile", "toml", "makefile"})
MASK = "[masked]"


def is_secret_file(path: str) -> bool:
    """Reports whether a file is likely to hold secrets, by its path."""
    lowered = path.lower()
    if not _FILES.match(lowered) or _TEMPLATES.match(lowered):
        return False
    # `secrets.py` is code about secrets; `secrets.yaml` contains them.
    return _CODE.fullmatch(lowered) is None or lowered.startswith((".ssh/", ".aws/", ".gnupg/"))


def mask(text: str, language: str = "") -> tuple[str, int]:
    """Replaces everything that looks like a key with ``[masked]``. Returns the text and the number of replacements.

    ``language`` decides whether unquoted values are masked.
    """
    if _HINTS.search(text) is None:
        return text, 0
    count = 0

    def replaced(match: re.Match[str]) -> str:
        nonlocal count
        if _PLACEHOLDER.match(match["value"]):
            return match.group()
        count += 1
        whole = match.group()
        at = match.start("value") - match.start()
        return whole[:at] + MASK + whole[at + len(match["value"]) :]

    text, keys = _PRIVATE_KEY.subn(MASK, text)
    text, tokens = _TOKENS.subn(MASK, text)
    count += keys + tokens
    for expression in (_QUOTED, _LIVE, _URL, *((_BARE,) if language in _SETTINGS else ())):
        text = expression.sub(replaced, text)
    return text, count
