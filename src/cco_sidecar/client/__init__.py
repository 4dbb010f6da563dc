"""The Python SDK.

    from cco_sidecar.client import AsyncClient

    async with AsyncClient() as client:                 # reads the agent's environment variables
        context = await client.context.get()
        async for event in client.events.subscribe(event_types=["architecture_defined"]):
            print(event.data)

``Client`` is the same without ``async``. Both refresh an agent's token before it expires. A subscription resumes after
a lost connection. Failures raise ``SidecarError`` or a subclass, with the documented code.
"""

from cco_sidecar.client.aio import AsyncClient
from cco_sidecar.client.aio_consumers import Delivery as AsyncDelivery
from cco_sidecar.client.errors import (
    AuthenticationError,
    CircuitOpenError,
    ConflictError,
    InternalError,
    InvalidRequestError,
    NotAcceptedError,
    NotEnoughEventsError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitedError,
    UnavailableError,
)
from cco_sidecar.client.sync import Client
from cco_sidecar.client.sync_consumers import Delivery
from cco_sidecar.client.values import Event, EventPage, Result, ResultPage
from cco_sidecar.core.errors import SidecarError
from cco_sidecar.core.signatures import WebhookSignatureError, verify_webhook

__all__ = [
    "AsyncClient",
    "AsyncDelivery",
    "AuthenticationError",
    "CircuitOpenError",
    "Client",
    "ConflictError",
    "Delivery",
    "Event",
    "EventPage",
    "InternalError",
    "InvalidRequestError",
    "NotAcceptedError",
    "NotEnoughEventsError",
    "NotFoundError",
    "PermissionDeniedError",
    "RateLimitedError",
    "Result",
    "ResultPage",
    "SidecarError",
    "UnavailableError",
    "WebhookSignatureError",
    "verify_webhook",
]
