"""Who may use a consumer, and who may change it."""

from __future__ import annotations

from cco_sidecar.auth.scope import require_creator
from cco_sidecar.bus.consumers.consumer import Consumer
from cco_sidecar.core.errors import conflict, permission_denied
from cco_sidecar.core.principal import SIDECAR, Principal


def require_use(consumer: Consumer, principal: Principal) -> None:
    """Raises SidecarError: AUTH_003 if the caller may not take the consumer's deliveries, CSM_005 if they are a
    webhook's."""
    record = consumer.record
    if record.created_by == SIDECAR and principal.operator:
        name = record.name
        raise conflict("CSM_005", f"consumer '{name}' belongs to a webhook, which takes its events", consumer=name)
    if principal.operator or record.created_by == principal.subject:
        return
    if not record.settings.shared:
        raise permission_denied(f"consumer '{record.name}' belongs to {record.created_by} and is not shared")
    if record.settings.agent_types and principal.agent_type not in record.settings.agent_types:
        allowed = ", ".join(record.settings.agent_types)
        raise permission_denied(f"consumer '{record.name}' is for agents of the types {allowed}")


def require_change(consumer: Consumer, principal: Principal) -> None:
    """Raises SidecarError (AUTH_003) if the caller may not delete or reset the consumer, or replay its dead letters."""
    if consumer.record.created_by == SIDECAR and not principal.operator:
        raise permission_denied(f"consumer '{consumer.record.name}' belongs to a webhook; only the operator changes it")
    require_creator(principal, consumer.record.created_by, f"consumer '{consumer.record.name}'")


def require_deletable(consumer: Consumer, principal: Principal) -> None:
    """Raises SidecarError: AUTH_003 as above, CSM_005 if the consumer belongs to a webhook."""
    require_change(consumer, principal)
    name = consumer.record.name
    if consumer.record.created_by == SIDECAR:
        raise conflict("CSM_005", f"consumer '{name}' belongs to a webhook; delete the webhook instead", consumer=name)
