"""Reads results: one, or a page of them."""

from __future__ import annotations

from cco_sidecar.auth.scope import require_own_issue
from cco_sidecar.core.errors import invalid_request, not_found
from cco_sidecar.core.paging import number_of, paged
from cco_sidecar.core.principal import Principal
from cco_sidecar.storage.base import ResultStore
from orchestra.v1.result_service_pb2 import (
    GetResultRequest,
    GetResultResponse,
    ListResultsRequest,
    ListResultsResponse,
)


async def get_result(store: ResultStore, request: GetResultRequest, principal: Principal) -> GetResultResponse:
    """Returns a result by id, or the newest of an issue and agent type. Raises SidecarError: AUTH_003, REQ_001,
    RES_001."""
    project = request.project_id
    if request.id:
        stored = await store.by_id(project, request.id)
        what = f"result '{request.id}'"
    elif request.issue_id and request.agent_type:
        stored = await store.newest(project, request.issue_id, request.agent_type)
        what = f"result of '{request.agent_type}' for issue '{request.issue_id}'"
    else:
        raise invalid_request("name a result by id, or by issue_id and agent_type", field="id")
    if stored is None:
        raise not_found("RES_001", f"{what} not found in project '{project}'")
    require_own_issue(principal, stored.result.issue_id)
    return GetResultResponse(result=stored.result)


async def list_results(store: ResultStore, request: ListResultsRequest) -> ListResultsResponse:
    """Returns a page of results, newest first. Raises SidecarError."""
    page = await paged(
        lambda before, limit: store.page(
            request.project_id,
            issue=request.issue_id,
            agent_type=request.agent_type,
            before=before,
            limit=limit,
            latest=request.latest,
        ),
        number_of(request.cursor),
        request.limit,
    )
    return ListResultsResponse(results=[stored.result for stored in page.items], next_cursor=page.next_cursor)
