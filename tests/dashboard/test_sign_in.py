"""Signing in to the dashboard: codes that work once, tokens that stay in their tab and may do less than the operator's."""

from __future__ import annotations

import json
import time
from pathlib import Path

import jwt
import pytest
from playwright.sync_api import Browser, expect
from tests.dashboard.conftest import Visit
from tests.support.browsers import login_link
from tests.support.sidecars import until
from tests.support.team_at_work import Team

from cco_sidecar.testing.process import Agent, run_cco


def exchanged(team: Team) -> Agent:
    """A browser session's identity, got like the page gets it."""
    code = login_link(team.sidecar).rpartition("=")[2]
    answer = team.sidecar.request("POST", "/api/login-codes/exchange", json={"code": code})
    assert answer.status_code == 201, answer.text
    return Agent("operator", "operator", "", "", answer.json()["jwt_token"])


def test_the_command_prints_a_link_that_works_once(browser: Browser, team: Team) -> None:
    printed = run_cco(team.sidecar, "dashboard", "--print")
    assert printed.returncode == 0 and printed.stdout.startswith(f"{team.sidecar.url}/#login="), printed
    page = browser.new_page()
    page.goto(printed.stdout.strip())
    expect(page.get_by_role("navigation", name="Views")).to_be_visible()
    assert "login" not in page.url
    page.go_back()
    assert "login" not in page.url
    page.context.close()
    again = browser.new_page()
    again.goto(printed.stdout.strip())
    expect(again.get_by_role("alert")).to_contain_text("used before")
    again.context.close()


def test_the_link_can_be_pasted(browser: Browser, team: Team) -> None:
    page = browser.new_page()
    page.goto(team.sidecar.url)
    page.get_by_label("Login link").fill("nonsense")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("This is not a login link")
    page.get_by_label("Login link").fill(login_link(team.sidecar))
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("navigation", name="Views")).to_be_visible()
    page.context.close()


def test_the_token_is_only_in_this_tab(visit: Visit) -> None:
    there = visit()
    assert there.context.cookies() == []
    kept = there.page.evaluate("[JSON.stringify(localStorage), Object.keys(sessionStorage)]")
    assert "token" not in kept[0] and "cco.token" in kept[1]
    there.page.reload()
    expect(there.page.get_by_role("navigation", name="Views")).to_be_visible()


def test_a_link_in_a_new_tab_is_signed_in_with_a_token_of_its_own(visit: Visit) -> None:
    there = visit()
    other = there.context.new_page()
    other.goto(f"{there.sidecar.url}/#/cost")
    expect(other.get_by_role("heading", name="Cost")).to_be_visible()
    tokens = [page.evaluate("sessionStorage.getItem('cco.token')") for page in (there.page, other)]
    claims = [jwt.decode(token, options={"verify_signature": False}) for token in tokens]
    assert claims[0]["jti"] != claims[1]["jti"] and claims[0]["auth_time"] == claims[1]["auth_time"]


def test_signing_out_revokes_the_token(visit: Visit) -> None:
    there = visit()
    token = there.page.evaluate("sessionStorage.getItem('cco.token')")
    there.page.get_by_role("button", name="Sign out").click()
    expect(there.page.get_by_role("alert")).to_contain_text("You signed out")
    used = Agent("operator", "operator", "", "", token)
    until(lambda: there.sidecar.request("GET", "/api/agents", used).status_code == 401, "the revocation")


def test_a_revoked_token_ends_the_page(visit: Visit) -> None:
    there = visit()
    token = there.page.evaluate("sessionStorage.getItem('cco.token')")
    jti = jwt.decode(token, options={"verify_signature": False})["jti"]
    there.sidecar.request("POST", "/api/tokens/revoke", there.sidecar.operator, json={"jti": jti})
    expect(there.page.get_by_role("alert")).to_contain_text("revoked", timeout=15_000)


def test_a_token_near_its_end_is_renewed_and_the_page_goes_on(browser: Browser, team: Team, tmp_path: Path) -> None:
    """With the key of the sidecar, a session is made whose token ends in 4 minutes."""
    claims = jwt.decode(exchanged(team).token, options={"verify_signature": False})
    key = (team.sidecar.storage / "signing-key.pem").read_text()
    header = jwt.get_unverified_header(exchanged(team).token)
    old = jwt.encode(
        claims | {"exp": int(time.time()) + 240, "jti": "near-its-end"}, key, "RS256", {"kid": header["kid"]}
    )
    context = browser.new_context()
    context.add_init_script(f"sessionStorage['cco.token'] ??= {json.dumps(old)}")
    page = context.new_page()
    page.goto(team.sidecar.url)
    page.wait_for_function("old => sessionStorage.getItem('cco.token') !== old", arg=old, timeout=40_000)
    team.publish("after_renewal")
    page.evaluate("location.hash = '#/events'")
    expect(page.get_by_role("option").filter(has_text="after_renewal")).to_be_visible()
    expect(page.locator(".connection")).to_have_text("Live")
    assert team.sidecar.request("GET", "/api/agents", Agent("operator", "operator", "", "", old)).status_code == 401
    context.close()


def test_an_unknown_code_is_refused(team: Team) -> None:
    for code in ("x" * 43, "../../etc", "x" * 129):
        answer = team.sidecar.request("POST", "/api/login-codes/exchange", json={"code": code})
        assert answer.status_code in (400, 401) and "jwt_token" not in answer.text
        assert code[:20] not in answer.text


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/api/credentials", None),
        ("GET", "/api/credentials/x", None),
        ("PUT", "/api/credentials/x", {"value": "y"}),
        ("POST", "/api/tokens", {"agent_type": "chief-architect", "issue_id": "i"}),
        ("POST", "/api/agents/spawn", {"agent_type": "python-specialist", "issue_id": "i", "command": ["true"]}),
        ("POST", "/api/sessions", {"name": "s", "prompt": "p"}),
        ("POST", "/api/webhooks", {"name": "w", "url": "http://127.0.0.1/"}),
        ("GET", "/api/webhooks", None),
        ("POST", "/api/events/x", {}),
        ("POST", "/api/documents", {"filename": "x", "text": "y"}),
        ("POST", "/api/blueprints", {"name": "b"}),
    ],
)
def test_a_browser_session_reads_no_secrets_and_starts_nothing_new(
    team: Team, method: str, path: str, body: dict[str, str] | None
) -> None:
    answer = team.sidecar.request(method, path, exchanged(team), json=body)
    assert (answer.status_code, answer.json()["code"]) == (403, "AUTH_003"), answer.text
    assert team.sidecar.request(method, path, team.sidecar.operator, json=body).status_code != 403


def test_pages_of_other_sites_can_do_nothing(team: Team) -> None:
    """Neither with a simple request, nor by the address of a name that leads here, nor over a WebSocket."""
    token = exchanged(team)
    evil = {"Origin": "http://evil.example"}
    answer = team.sidecar.request("POST", "/api/context/refresh", token, json={"issue_id": "i"}, headers=evil)
    assert (answer.status_code, answer.json()["code"]) == (403, "AUTH_003")
    code = login_link(team.sidecar).rpartition("=")[2]
    refused = team.sidecar.request("POST", "/api/login-codes/exchange", json={"code": code}, headers=evil)
    assert refused.status_code == 403
    own = {"Origin": team.sidecar.url}
    assert (
        team.sidecar.request("POST", "/api/login-codes/exchange", json={"code": code}, headers=own).status_code == 201
    )
    page = team.sidecar.request("GET", "/", headers=evil)
    assert "access-control-allow-origin" not in page.headers


def test_a_link_that_is_opened_in_the_open_tab_signs_in(visit: Visit) -> None:
    there = visit()
    there.show("cost")
    there.page.get_by_role("button", name="Sign out").click()
    expect(there.page.get_by_label("Login link")).to_be_visible()
    there.page.evaluate("link => { location.href = link }", login_link(there.sidecar))
    expect(there.page.get_by_role("navigation", name="Views")).to_be_visible()
    assert "login" not in there.page.url


def test_a_duplicated_tab_gets_a_token_of_its_own(visit: Visit) -> None:
    there = visit()
    kept = there.page.evaluate("JSON.stringify({...sessionStorage})")
    other = there.context.new_page()
    other.add_init_script(f"if (!sessionStorage.length) Object.assign(sessionStorage, {kept})")
    other.goto(f"{there.sidecar.url}/#/cost")
    old = json.loads(kept)["cco.token"]
    other.wait_for_function("old => sessionStorage.getItem('cco.token') !== old", arg=old)
    assert there.page.evaluate("sessionStorage.getItem('cco.token')") == old


@pytest.mark.parametrize("hours", [-3, 3])
def test_the_clock_of_the_browser_may_be_wrong(browser: Browser, team: Team, hours: int) -> None:
    context = browser.new_context()
    shift = hours * 3_600_000
    context.add_init_script(f"const real = Date.now; Date.now = () => real() + {shift}")
    page = context.new_page()
    page.goto(login_link(team.sidecar))
    expect(page.get_by_role("navigation", name="Views")).to_be_visible()
    page.reload()
    expect(page.get_by_role("navigation", name="Views")).to_be_visible()
    context.close()
