"""Browser sessions: codes that work once, tokens that are renewed until the session is over, and what they may do."""

from __future__ import annotations

import pytest
from tests.auth.test_tokens import START, ManualClock, clock, revocations, tokens

from cco_sidecar.auth.logins import CODE_SECONDS, Logins
from cco_sidecar.auth.policy import policies
from cco_sidecar.auth.tokens import BROWSER_SESSION_SECONDS, TTL_SECONDS, Tokens
from cco_sidecar.core.errors import SidecarError
from cco_sidecar.core.principal import OPERATOR, Principal
from cco_sidecar.core.services import services

__all__ = ["clock", "revocations", "tokens"]
BY_OPERATOR = Principal(subject=OPERATOR, operator=True)
# By hand, independent of the marks in the protos: what a page of the operator must not be able to do.
DENIED = {
    # New programs, and what decides how programs run.
    "SpawnAgent", "CreateSession", "CreateBlueprint", "UpdateBlueprint", "DeleteBlueprint",
    # Secrets, and identities that outlive the page.
    "StoreCredential", "GetCredential", "DeleteCredential", "ListCredentials", "CreateToken", "ExchangeLoginCode",
    "CreateWebhook", "GetWebhook", "ListWebhooks", "UpdateWebhook", "DeleteWebhook", "RotateWebhookSecret", "TestWebhook",
    "CreateRunnerToken",
    # The work of runners.
    "AttendRunner", "ReportRunner", "ReadCommits",
    # The work of agents.
    "CreateResult", "PublishEvent", "PublishEvents", "SendHeartbeat", "RequestApproval", "AddSessionEvent",
    "CreateDocument", "WriteDocument", "EditDocument", "UpdateDocument", "DeleteDocument", "CreateDocumentRelation",
    "UpdateDocumentRelation", "DeleteDocumentRelation", "CreateKnowledgeEntry", "UpdateSession", "DeleteSession",
    "CreateConsumer", "DeleteConsumer", "ResetConsumer", "Consume", "PullEvents", "AcknowledgeEvents", "RejectEvents",
    "ExtendEvents", "CreateSchedule", "DeleteSchedule", "SetSchema", "DeleteSchema", "ClearContextCache",
}  # fmt: skip
CHANGES = {
    "AnswerApproval", "StopAgent", "ResumeAgent", "DiscardWorktree", "StopSession", "ResumeSession", "RefreshContext",
    "ApproveKnowledgeEntry", "DeleteKnowledgeEntry", "ReplayDeadLetters", "DeleteDeadLetter", "CreateLoginCode",
    "RefreshToken", "RevokeToken",
}  # fmt: skip


def code_of(problem: pytest.ExceptionInfo[SidecarError]) -> str:
    return problem.value.code


def test_a_code_works_once(clock: ManualClock) -> None:
    logins = Logins(clock)
    made = logins.create(BY_OPERATOR)
    assert logins.redeem(made.code).signed_in_at == START
    with pytest.raises(SidecarError) as problem:
        logins.redeem(made.code)
    assert code_of(problem) == "AUTH_001" and made.code not in problem.value.message


def test_a_code_expires(clock: ManualClock) -> None:
    logins = Logins(clock)
    made = logins.create(BY_OPERATOR)
    assert made.expires_at == START + CODE_SECONDS
    clock.now += CODE_SECONDS
    with pytest.raises(SidecarError):
        logins.redeem(made.code)


def test_many_codes_push_out_only_the_oldest(clock: ManualClock) -> None:
    logins = Logins(clock)
    codes = [logins.create(BY_OPERATOR).code for _ in range(51)]
    with pytest.raises(SidecarError):
        logins.redeem(codes[0])
    for code in codes[1:]:
        logins.redeem(code)


def test_another_tab_inherits_the_time_of_the_login(clock: ManualClock, tokens: Tokens) -> None:
    logins = Logins(clock)
    first = tokens.mint_browser(logins.redeem(logins.create(BY_OPERATOR).code).signed_in_at).principal
    clock.now += 3000
    second = tokens.mint_browser(logins.redeem(logins.create(first).code).signed_in_at).principal
    assert (second.signed_in_at, second.session != first.session) == (START, True)


async def test_a_session_is_renewed_until_it_is_over(clock: ManualClock, tokens: Tokens) -> None:
    minted = tokens.mint_browser(clock.seconds())
    assert minted.principal.expires_at == START + TTL_SECONDS and minted.principal.is_browser
    session, renewals = minted.principal.session, 0
    with pytest.raises(SidecarError) as early:
        await tokens.refresh(minted.principal)
    assert code_of(early) == "AUTH_003"
    while minted.principal.expires_at < START + BROWSER_SESSION_SECONDS:
        clock.now = minted.principal.expires_at - 60
        older, minted = minted, await tokens.refresh(minted.principal)
        renewals += 1
        assert minted.principal.session == session and tokens.verify(minted.token) == minted.principal
        with pytest.raises(SidecarError):
            tokens.verify(older.token)
    assert renewals == 12 and minted.principal.expires_at == START + BROWSER_SESSION_SECONDS
    clock.now = minted.principal.expires_at
    with pytest.raises(SidecarError) as over:
        await tokens.refresh(minted.principal)
    assert code_of(over) == "AUTH_002" and "cco dashboard" in over.value.message


def test_the_operator_is_no_browser(tokens: Tokens) -> None:
    assert not tokens.mint_operator().principal.is_browser


def test_what_a_browser_session_may_call(tokens: Tokens, clock: ManualClock) -> None:
    browser, operator = tokens.mint_browser(clock.seconds()).principal, tokens.mint_operator().principal
    for path, policy in policies(services()).items():
        name = path.rpartition("/")[2]
        policy.authorise(operator)
        if name in DENIED:
            try:
                policy.authorise(browser)
            except SidecarError as problem:
                assert problem.code == "AUTH_003"
            else:
                raise AssertionError(f"{name} is allowed")
        else:
            policy.authorise(browser)
            assert policy.reads or name in CHANGES, name
    names = {path.rpartition("/")[2] for path in policies(services())}
    assert names >= DENIED | CHANGES
