"""Secrets are stored, read, listed and deleted by the operator only."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import grpc
import pytest
from tests.services.credentials.vaults import (
    LINES,
    SECRET,
    code_of,
    files_with,
    hash_of,
    key_file,
    names,
    proof,
    store,
    value_of,
)
from tests.support.sidecars import call, refused

from cco_sidecar.client.errors import error_of
from cco_sidecar.testing.agents import spawn_scripted
from cco_sidecar.testing.process import SidecarProcess
from orchestra.v1 import credential_service_pb2 as pb


class TestStoring:
    def test_over_rest(self, sidecar: SidecarProcess, name: str) -> None:
        first = store(sidecar, name, SECRET)
        assert first["name"] == name and first["created_at"] == first["updated_at"] and SECRET not in str(first)
        found = call(sidecar, "GET", f"/api/credentials/{name}")
        assert found == {"name": name, "value": SECRET, "updated_at": first["updated_at"]}
        second = store(sidecar, name, "another value")
        assert second["created_at"] == first["created_at"] < second["updated_at"]
        assert value_of(sidecar, name) == "another value"
        listed = call(sidecar, "GET", "/api/credentials")["credentials"]
        assert second in listed and all(set(each) == {"name", "created_at", "updated_at"} for each in listed)
        assert call(sidecar, "DELETE", f"/api/credentials/{name}") == {"deleted": True, "name": name}
        for method in ("GET", "DELETE"):
            refused(sidecar, 404, "CRD_001", method, f"/api/credentials/{name}", sidecar.operator)
        assert name not in names(sidecar)

    def test_over_grpc(self, sidecar: SidecarProcess, stub: Any, name: str) -> None:
        own = sidecar.operator.metadata
        stored = stub.StoreCredential(pb.StoreCredentialRequest(name=name, value=SECRET), metadata=own)
        assert stored.credential.name == name
        assert stub.GetCredential(pb.GetCredentialRequest(name=name), metadata=own).value == SECRET
        listed = stub.ListCredentials(pb.ListCredentialsRequest(), metadata=own)
        assert name in [each.name for each in listed.credentials] and SECRET not in str(listed)
        assert stub.DeleteCredential(pb.DeleteCredentialRequest(name=name), metadata=own).deleted
        with pytest.raises(grpc.RpcError) as caught:
            stub.GetCredential(pb.GetCredentialRequest(name=name), metadata=own)
        assert code_of(caught.value) == ("NOT_FOUND", "CRD_001")

    @pytest.mark.parametrize(
        "value",
        ["x", " both ends ", "\n", "line\r\nline\n", LINES, "äöü €\U0001f511", '{"a": "\\"b\\""}', "a=b;$(c)`d`", "x" * 65_536],
    )  # fmt: skip
    def test_every_value_is_returned_unchanged(self, sidecar: SidecarProcess, name: str, value: str) -> None:
        store(sidecar, name, value)
        assert value_of(sidecar, name) == value
        agent = spawn_scripted(sidecar, [proof(name)], credentials=[name])
        ended = agent.wait()
        assert (ended["status"], agent.logs()) == ("completed", [hash_of(value)])

    @pytest.mark.parametrize(
        "wrong", ["A-B", "1A", "É", "A B", "A=B", "A\n", "\nA", "A\0", "a" * 129, "A.B", "%", "名"]
    )
    def test_an_invalid_variable_name_is_refused(self, sidecar: SidecarProcess, stub: Any, wrong: str) -> None:
        body = {"value": SECRET}
        path = f"/api/credentials/{quote(wrong, safe='')}"
        answer = sidecar.request("PUT", path, sidecar.operator, json=body)
        assert answer.status_code == 400 and answer.json()["code"] == "REQ_001", answer.text
        assert SECRET not in answer.text
        with pytest.raises(grpc.RpcError) as caught:
            stub.StoreCredential(
                pb.StoreCredentialRequest(name=wrong, value=SECRET), metadata=sidecar.operator.metadata
            )
        assert code_of(caught.value) == ("INVALID_ARGUMENT", "REQ_001")
        assert wrong not in names(sidecar)

    @pytest.mark.parametrize(
        "taken", ["AGENT_ID", "JWT_TOKEN", "JWT_TOKEN_FILE", "SIDECAR_URL", "CONTEXT_FILE", "CCO_SIDECAR_JWT_SECRET"]
    )
    def test_a_variable_that_the_sidecar_sets_is_refused(self, sidecar: SidecarProcess, taken: str) -> None:
        """No agent would ever receive it."""
        path = f"/api/credentials/{taken}"
        refused(sidecar, 400, "REQ_001", "PUT", path, sidecar.operator, json={"value": SECRET})

    def test_an_invalid_value_is_reported_without_being_shown(
        self, sidecar: SidecarProcess, stub: Any, name: str
    ) -> None:
        mark = "Qw7-unsaid-Er9"
        path = f"/api/credentials/{name}"
        for body in (
            {"value": ""},
            {},
            {"value": mark + "\0"},
            {"value": mark + "x" * 65_536},
            {"value": {"it": mark}},
            {"value": [mark]},
            {"valeu": mark},
            {"value": mark, "nmae": "x"},
            [mark],
            mark,
        ):
            answer = sidecar.request("PUT", path, sidecar.operator, json=body)
            assert answer.status_code == 400 and answer.json()["code"] == "REQ_001", (body, answer.text)
            assert mark not in answer.text, body
        for text in (
            f'{{"value": "{mark}',
            f'{{"value": "{mark}"}}x',
            f'{{"value": {mark}}}',
            f'{{"value": "{mark}\\ud800"}}',
        ):
            answer = sidecar.request(
                "PUT", path, sidecar.operator, data=text, headers={"Content-Type": "application/json"}
            )
            assert answer.status_code == 400 and mark not in answer.text, answer.text
        with pytest.raises(grpc.RpcError) as caught:
            request = pb.StoreCredentialRequest(name=name, value=mark + "x" * 65_536)
            stub.StoreCredential(request, metadata=sidecar.operator.metadata)
        assert mark not in str(caught.value.details()) and mark not in str(error_of(caught.value))
        assert name not in names(sidecar)
        assert files_with(sidecar.storage, mark) == []

    def test_only_the_operator_may(self, sidecar: SidecarProcess, stub: Any, name: str) -> None:
        store(sidecar, name, SECRET)
        for kind in ("chief-architect", "python-specialist", "security-auditor", "ui-ux-designer"):
            agent = sidecar.agent(kind)
            for method, path, body in (
                ("PUT", f"/api/credentials/{name}", {"value": "mine"}),
                ("GET", f"/api/credentials/{name}", None),
                ("GET", "/api/credentials/NOT_THERE", None),
                ("GET", "/api/credentials", None),
                ("DELETE", f"/api/credentials/{name}", None),
            ):
                problem = refused(sidecar, 403, "AUTH_003", method, path, agent, json=body)
                assert SECRET not in str(problem) and key_file(sidecar).name not in str(problem)
                assert sidecar.request(method, path, json=body).status_code == 401
            for rpc, request in (
                (stub.StoreCredential, pb.StoreCredentialRequest(name=name, value="mine")),
                (stub.GetCredential, pb.GetCredentialRequest(name=name)),
                (stub.ListCredentials, pb.ListCredentialsRequest()),
                (stub.DeleteCredential, pb.DeleteCredentialRequest(name=name)),
            ):
                with pytest.raises(grpc.RpcError) as caught:
                    rpc(request, metadata=agent.metadata)
                assert code_of(caught.value) == ("PERMISSION_DENIED", "AUTH_003")
        assert value_of(sidecar, name) == SECRET
