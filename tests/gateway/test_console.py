"""The REST console at /docs: served from the package, under a policy that admits no foreign and no inline script."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import requests

from cco_sidecar.core.services import services
from cco_sidecar.gateway.routes import routes_of
from cco_sidecar.testing.process import SidecarProcess


def policy_of(answer: requests.Response) -> dict[str, str]:
    parts = (part.strip().partition(" ") for part in answer.headers["content-security-policy"].split(";"))
    return {name: value for name, _, value in parts}


@pytest.mark.parametrize("path", ["/docs", "/docs/"])
def test_the_page_admits_only_scripts_of_this_server(sidecar: SidecarProcess, path: str) -> None:
    page = requests.get(sidecar.url + path, timeout=10)
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    policy = policy_of(page)
    assert policy["default-src"] == "'none'" and policy["script-src"] == policy["connect-src"] == "'self'"
    assert not re.search(r"<script(?![^>]*\bsrc=)", page.text) and "http" not in page.text.replace("http-equiv", "")


def test_what_the_page_names_is_there(sidecar: SidecarProcess) -> None:
    page = requests.get(f"{sidecar.url}/docs", timeout=10).text
    named = re.findall(r'(?:src|href)="(/[^"]+)"', page)
    assert len(named) == 3
    for path in named:
        found = requests.get(sidecar.url + path, timeout=10)
        assert found.status_code == 200 and found.headers["x-content-type-options"] == "nosniff"
        expected = "text/css; charset=utf-8" if path.endswith(".css") else "text/javascript; charset=utf-8"
        assert found.headers["content-type"] == expected


@pytest.mark.parametrize("path", ["/docs/nothing", "/docs/../openapi.json", "/docs/LICENSE", "/docsx"])
def test_nothing_else_is_served(sidecar: SidecarProcess, path: str) -> None:
    with requests.Session() as session:
        sent = session.prepare_request(requests.Request("GET", sidecar.url))
        sent.url = sidecar.url + path
        assert session.send(sent, timeout=10).status_code == 404


def test_other_answers_keep_their_policy(sidecar: SidecarProcess) -> None:
    for path in ("/openapi.json", "/health"):
        assert policy_of(requests.get(sidecar.url + path, timeout=10)) == {
            "default-src": "'none'",
            "frame-ancestors": "'none'",
        }


def test_a_browser_shows_every_operation(sidecar: SidecarProcess, tmp_path: Path) -> None:
    browser = shutil.which("chromium")
    if browser is None:
        pytest.skip("Chromium is not installed: apt-get install chromium")
    command = [
        browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        f"--user-data-dir={tmp_path}", "--virtual-time-budget=20000", "--dump-dom", f"{sidecar.url}/docs",
    ]  # fmt: skip
    shown = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False).stdout
    tags = set(re.findall(r'data-tag="(\w+)"', shown))
    assert tags >= {service.name for service in services() if any(routes_of(service))}
