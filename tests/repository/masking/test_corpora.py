"""Masking on two labelled corpora: what it finds, and what it leaves alone."""

from __future__ import annotations

import pytest
from tests.repository.masking.corpora import CONFIGURATION, KNOWN, NAMES, look_alikes, missed, secrets
from tests.repository.masking.packages import package_files, parses

from cco_sidecar.repository.masking import mask_file


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("kind", "least"), [(KNOWN, 0.97), (CONFIGURATION, 0.85)])
def test_recall(name: str, kind: str, least: float) -> None:
    left, total = missed(name, kind)
    assert 1 - len(left) / total >= least, left


@pytest.mark.parametrize("name", NAMES)
def test_look_alikes_stay_as_they_are(name: str) -> None:
    changed = {each.id: found for each in look_alikes(name) if (found := mask_file(each.text.encode(), each.path)[1])}
    assert changed == {}


def test_the_corpora_are_large_enough() -> None:
    for name in NAMES:
        known = [each for each in secrets(name) if each.kind == KNOWN]
        assert len(secrets(name)) >= 300 and len(look_alikes(name)) >= 300
        assert len({each.format for each in known}) >= 40
        assert all(secret in each.text for each in secrets(name) for secret in each.secrets)


@pytest.mark.parametrize("name", NAMES)
def test_only_the_secret_is_replaced(name: str) -> None:
    """What is left of a masked text is the text, in order and on the same lines."""
    for each in secrets(name):
        masked, findings = mask_file(each.text.encode(), each.path)
        at = 0
        for part in masked.decode().split("[masked]"):
            at = each.text.index(part, at) + len(part)
        assert masked.decode().count("[masked]") >= len(findings)
        assert all(1 <= found.line <= each.text.count("\n") + 1 for found in findings)


def test_installed_packages_keep_their_syntax() -> None:
    files = package_files(2_000)
    changed = [(path, data, masked) for path, data in files if (masked := mask_file(data, str(path))[0]) != data]
    assert len(files) == 2_000
    assert [path for path, data, masked in changed if parses(path, data) and not parses(path, masked)] == []
    # Few packages hold anything that looks like a key, and those are tests and documentation of keys.
    assert len(changed) < 10, [path for path, _, _ in changed]
