"""CredentialService: unpacks requests, calls one operation, packs the response."""

from __future__ import annotations

from cco_sidecar.core.clock import timestamp
from cco_sidecar.core.principal import Principal
from cco_sidecar.services.credentials.vault import Vault
from cco_sidecar.storage.base import SealedCredential
from orchestra.v1 import credential_service_pb2 as pb


class CredentialServicer:
    """Implements orchestra.v1.CredentialService. Errors are raised as SidecarError."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    async def StoreCredential(
        self, request: pb.StoreCredentialRequest, principal: Principal
    ) -> pb.StoreCredentialResponse:
        return pb.StoreCredentialResponse(credential=_message(await self._vault.put(request.name, request.value)))

    async def GetCredential(self, request: pb.GetCredentialRequest, principal: Principal) -> pb.GetCredentialResponse:
        value, known = await self._vault.get(request.name)
        return pb.GetCredentialResponse(name=known.name, value=value, updated_at=timestamp(known.updated))

    async def ListCredentials(
        self, request: pb.ListCredentialsRequest, principal: Principal
    ) -> pb.ListCredentialsResponse:
        return pb.ListCredentialsResponse(credentials=map(_message, await self._vault.names()))

    async def DeleteCredential(
        self, request: pb.DeleteCredentialRequest, principal: Principal
    ) -> pb.DeleteCredentialResponse:
        await self._vault.delete(request.name)
        return pb.DeleteCredentialResponse(deleted=True, name=request.name)


def _message(known: SealedCredential) -> pb.Credential:
    return pb.Credential(name=known.name, created_at=timestamp(known.created), updated_at=timestamp(known.updated))
