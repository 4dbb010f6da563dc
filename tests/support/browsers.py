"""Chromium, driven by Playwright, on the dashboard of a sidecar."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from cco_sidecar.testing.process import SidecarProcess

# Nothing here may look for hosts of others: no updates, no metrics, no QUIC.
_FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
WIDE, TABLET, PHONE = (1440, 900), (820, 1100), (390, 844)


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("Chromium is not installed: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=_FLAGS)
        try:
            yield browser
        finally:
            browser.close()


def login_link(sidecar: SidecarProcess) -> str:
    made = sidecar.request("POST", "/api/login-codes", sidecar.operator, json={})
    assert made.status_code == 201, made.text
    return f"{sidecar.url}/#login={made.json()['code']}"


class Visitor:
    """A signed-in page, and what went wrong on it: errors of scripts, and what the policy of the page refused."""

    def __init__(self, context: BrowserContext, sidecar: SidecarProcess) -> None:
        self.context = context
        self.sidecar = sidecar
        self.page: Page = context.new_page()
        self.problems: list[str] = []
        self.page.on("pageerror", lambda error: self.problems.append(f"error: {error}"))
        self.page.on("console", self._hear)
        # An alert is what a script of an attacker would show first.
        self.page.on("dialog", lambda dialog: (self.problems.append(f"dialog: {dialog.message}"), dialog.dismiss()))

    def _hear(self, message: Any) -> None:
        if message.type in ("error", "warning") and "Content Security Policy" in message.text:
            self.problems.append(message.text)

    def sign_in(self) -> None:
        self.page.goto(login_link(self.sidecar))
        self.page.get_by_role("navigation", name="Views").wait_for()

    def show(self, place: str) -> None:
        """Shows a view by the part of its address after `#/`."""
        self.page.evaluate("place => { location.hash = '#/' + place }", place)

    def text(self, selector: str = "main") -> str:
        return self.page.locator(selector).inner_text()


@contextlib.contextmanager
def visitor(
    browser: Browser, sidecar: SidecarProcess, size: tuple[int, int] = WIDE, scheme: str = "light", **more: Any
) -> Iterator[Visitor]:
    """A page of its own browser profile, signed in."""
    scheme_of: Any = scheme
    context = browser.new_context(viewport={"width": size[0], "height": size[1]}, color_scheme=scheme_of, **more)
    try:
        made = Visitor(context, sidecar)
        made.sign_in()
        yield made
    finally:
        context.close()
