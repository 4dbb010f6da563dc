"""Invalid settings are reported, together with what would be valid."""

from __future__ import annotations

import pytest

from cco_sidecar.core import sources
from cco_sidecar.core.errors import SettingsError


@pytest.mark.parametrize("names", ["http://build.example", "build.example:3001", "*", "a b", "-x", ""])
def test_allowed_hosts_must_be_host_names(names: str) -> None:
    with pytest.raises(SettingsError, match=r"ALLOWED_HOSTS.*expected"):
        sources.load(None, {"CCO_SIDECAR_ALLOWED_HOSTS": names or ","}, {})


def test_allowed_hosts_are_compared_in_lower_case() -> None:
    loaded = sources.load(None, {"CCO_SIDECAR_ALLOWED_HOSTS": "Build.Example, [fe80::1],sidecar"}, {})
    assert loaded.allowed_hosts == ("build.example", "[fe80::1]", "sidecar")


@pytest.mark.parametrize(
    ("environment", "level"),
    [
        ({"DEBUG_LOGGING": "true"}, "debug"),
        ({"DEBUG_LOGGING": "false"}, "info"),
        ({"DEBUG_LOGGING": "1", "CCO_SIDECAR_LOG_LEVEL": "error"}, "error"),
    ],
)
def test_the_variable_of_the_agent_runtime_is_read(environment: dict[str, str], level: str) -> None:
    assert sources.load(None, environment, {}).log_level == level
