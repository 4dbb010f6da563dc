"""Splits a context into chunks, for clients that limit messages to 4 MB."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

from google.protobuf.message import Message

from orchestra.v1.context_service_pb2 import (
    Context,
    ContextHeader,
    ContextTrailer,
    GetContextResponse,
    KnowledgeList,
    ProjectStructure,
    StreamContextResponse,
)

M = TypeVar("M", bound=Message)

_PART_BYTES = 512 * 1024
_PATHS = 5000


def parts_of(response: GetContextResponse, *, hit: bool) -> Iterator[StreamContextResponse]:
    """Yields a header, fragments that merge into the context, and a trailer."""
    context = response.context
    header = ContextHeader(
        issue_id=response.issue_id,
        agent_type=response.agent_type,
        cache_hit=hit,
        timestamp=response.timestamp,
        total_size_bytes=response.total_size_bytes,
        file_count=response.file_count,
    )
    yield StreamContextResponse(header=header)
    structure = context.project_structure
    first = ProjectStructure(
        root=structure.root, total_files=structure.total_files, total_size_bytes=structure.total_size_bytes
    )
    yield _fragment(Context(project_structure=first))
    yield _fragment(Context(metadata=context.metadata))
    yield _fragment(Context(git_context=context.git_context))
    for at in range(0, len(structure.files), _PATHS):
        yield _fragment(Context(project_structure=ProjectStructure(files=structure.files[at : at + _PATHS])))
    for at in range(0, len(structure.directories), _PATHS):
        directories = structure.directories[at : at + _PATHS]
        yield _fragment(Context(project_structure=ProjectStructure(directories=directories)))
    for outputs in _grouped(context.previous_agent_outputs):
        yield _fragment(Context(previous_agent_outputs=outputs))
    for entries in _grouped(context.knowledge.values):
        yield _fragment(Context(knowledge=KnowledgeList(values=entries)))
    for files in _grouped(context.relevant_files):
        yield _fragment(Context(relevant_files=files))
    trailer = ContextTrailer(
        truncated=response.truncated,
        truncation_strategy=response.truncation_strategy,
        manifest=response.manifest,
    )
    yield StreamContextResponse(trailer=trailer)


def _grouped(items: Iterable[M]) -> Iterator[list[M]]:
    """Groups consecutive items into chunks of bounded size."""
    group: list[M] = []
    size = 0
    for item in items:
        if group and size + item.ByteSize() > _PART_BYTES:
            yield group
            group, size = [], 0
        group.append(item)
        size += item.ByteSize()
    if group:
        yield group


def _fragment(context: Context) -> StreamContextResponse:
    return StreamContextResponse(fragment=context)
