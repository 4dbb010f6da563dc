"""Files that are likely to hold nothing but secrets, by their path."""

from __future__ import annotations

from functools import lru_cache

from cco_sidecar.repository.patterns import Patterns

# Matched against the path in lower case.
_FILES = Patterns(
    [
        ".env", ".env.*", ".env-*", ".env_*", "*.env", "env.prod*", ".envrc", "*.pem", "*.key", "*.p12", "*.pfx",
        "*.jks", "*.keystore", "*.ppk", "*.gpg", "*.pgp", "*.kdbx", "id_rsa*", "id_dsa*", "id_ecdsa*", "id_ed25519*",
        ".ssh/", ".aws/", ".gnupg/", ".kube/config", "kubeconfig*", ".netrc", "_netrc", ".npmrc", ".yarnrc.yml",
        ".pypirc", ".htpasswd", ".pgpass", ".my.cnf", ".git-credentials", ".dockercfg", ".docker/config.json",
        ".vault_pass*", ".vault-pass*", "credentials.*", "*credentials.json", "*credentials.y*ml",
        "secrets.*", "secret.*", "*.secret", "*.secrets", "service-account*.json", "service_account*.json",
        "client_secret*.json", "*.tfstate", "*.tfstate.*", "*.tfvars", "*.tfvars.json", "*.ovpn", "operator.token",
    ]
)  # fmt: skip
# Templates are public: they name the settings, not the values.
_TEMPLATES = Patterns(["*.example", "*.sample", "*.template", "*.dist"])
_CODE = frozenset(
    (
        "py", "pyi", "go", "rs", "ts", "tsx", "js", "jsx", "mjs", "cjs", "java", "kt", "kts", "scala", "cs", "fs",
        "rb", "php", "swift", "dart", "c", "h", "cc", "cpp", "hpp", "ex", "exs", "erl", "hs", "ml", "lua", "vue",
        "svelte", "md", "mdx", "rst", "adoc", "proto", "htm", "html", "css", "scss", "tf", "nix", "sol", "ps1",
        "psm1", "sql", "graphql", "gql", "sh", "bash", "zsh", "pl", "clj", "groovy",
    )
)  # fmt: skip


@lru_cache(maxsize=200_000)
def is_secret_file(path: str) -> bool:
    """Reports whether a file is likely to hold secrets, by its path."""
    lowered = path.lower()
    if lowered.rpartition("/")[2] == "credentials":
        return True
    # `secrets.py` is code about secrets; `secrets.yaml` contains them.
    if lowered.rpartition(".")[2] in _CODE and not lowered.startswith((".ssh/", ".aws/", ".gnupg/")):
        return False
    return _FILES.match(lowered) and not _TEMPLATES.match(lowered)
