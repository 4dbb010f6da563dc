"""The contract of a WebhookStore. See contract.py."""

from __future__ import annotations

from tests.storage.contract import OpenStores

from cco_sidecar.storage.event_stores import StoredWebhook
from orchestra.v1.webhook_service_pb2 import Webhook


async def test_webhooks_are_stored_replaced_and_deleted(open_stores: OpenStores) -> None:
    stores = await open_stores()
    one = StoredWebhook(Webhook(name="a", project_id="p", url="https://x.example"), b"sealed")
    other = StoredWebhook(Webhook(name="a", project_id="q"), b"\x00\xff", b"former", 2**60)
    for each in (other, one):
        await stores.webhooks.put(each)
    assert list(await (await open_stores()).webhooks.all()) == [one, other]
    changed = one._replace(webhook=Webhook(name="a", project_id="p", paused=True), former_until=5)
    await stores.webhooks.put(changed)
    await stores.webhooks.delete("q", "a")
    assert list(await stores.webhooks.all()) == [changed]
