from google.api import annotations_pb2 as _annotations_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from orchestra.v1 import options_pb2 as _options_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DocumentRelationType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DOCUMENT_RELATION_TYPE_UNSPECIFIED: _ClassVar[DocumentRelationType]
    DOCUMENT_RELATION_TYPE_PARENT_CHILD: _ClassVar[DocumentRelationType]
    DOCUMENT_RELATION_TYPE_RELATED: _ClassVar[DocumentRelationType]
    DOCUMENT_RELATION_TYPE_PREDECESSOR_SUCCESSOR: _ClassVar[DocumentRelationType]
DOCUMENT_RELATION_TYPE_UNSPECIFIED: DocumentRelationType
DOCUMENT_RELATION_TYPE_PARENT_CHILD: DocumentRelationType
DOCUMENT_RELATION_TYPE_RELATED: DocumentRelationType
DOCUMENT_RELATION_TYPE_PREDECESSOR_SUCCESSOR: DocumentRelationType

class DocumentRelation(_message.Message):
    __slots__ = ("relation_id", "type", "from_document_id", "to_document_id", "from_note", "to_note", "created_by", "created_at", "updated_at")
    RELATION_ID_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    FROM_DOCUMENT_ID_FIELD_NUMBER: _ClassVar[int]
    TO_DOCUMENT_ID_FIELD_NUMBER: _ClassVar[int]
    FROM_NOTE_FIELD_NUMBER: _ClassVar[int]
    TO_NOTE_FIELD_NUMBER: _ClassVar[int]
    CREATED_BY_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    UPDATED_AT_FIELD_NUMBER: _ClassVar[int]
    relation_id: str
    type: DocumentRelationType
    from_document_id: str
    to_document_id: str
    from_note: str
    to_note: str
    created_by: str
    created_at: _timestamp_pb2.Timestamp
    updated_at: _timestamp_pb2.Timestamp
    def __init__(self, relation_id: _Optional[str] = ..., type: _Optional[_Union[DocumentRelationType, str]] = ..., from_document_id: _Optional[str] = ..., to_document_id: _Optional[str] = ..., from_note: _Optional[str] = ..., to_note: _Optional[str] = ..., created_by: _Optional[str] = ..., created_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., updated_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Document(_message.Message):
    __slots__ = ("document_id", "project_id", "filename", "content_type", "size_bytes", "total_chars", "tags", "metadata", "revision", "checksum", "created_by", "created_at", "updated_at")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    DOCUMENT_ID_FIELD_NUMBER: _ClassVar[int]
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    FILENAME_FIELD_NUMBER: _ClassVar[int]
    CONTENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    TOTAL_CHARS_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    CHECKSUM_FIELD_NUMBER: _ClassVar[int]
    CREATED_BY_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    UPDATED_AT_FIELD_NUMBER: _ClassVar[int]
    document_id: str
    project_id: str
    filename: str
    content_type: str
    size_bytes: int
    total_chars: int
    tags: _containers.RepeatedScalarFieldContainer[str]
    metadata: _containers.ScalarMap[str, str]
    revision: int
    checksum: str
    created_by: str
    created_at: _timestamp_pb2.Timestamp
    updated_at: _timestamp_pb2.Timestamp
    def __init__(self, document_id: _Optional[str] = ..., project_id: _Optional[str] = ..., filename: _Optional[str] = ..., content_type: _Optional[str] = ..., size_bytes: _Optional[int] = ..., total_chars: _Optional[int] = ..., tags: _Optional[_Iterable[str]] = ..., metadata: _Optional[_Mapping[str, str]] = ..., revision: _Optional[int] = ..., checksum: _Optional[str] = ..., created_by: _Optional[str] = ..., created_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., updated_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class CreateDocumentRequest(_message.Message):
    __slots__ = ("filename", "content_type", "text", "data", "tags", "metadata", "project_id")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    FILENAME_FIELD_NUMBER: _ClassVar[int]
    CONTENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    filename: str
    content_type: str
    text: str
    data: bytes
    tags: _containers.RepeatedScalarFieldContainer[str]
    metadata: _containers.ScalarMap[str, str]
    project_id: str
    def __init__(self, filename: _Optional[str] = ..., content_type: _Optional[str] = ..., text: _Optional[str] = ..., data: _Optional[bytes] = ..., tags: _Optional[_Iterable[str]] = ..., metadata: _Optional[_Mapping[str, str]] = ..., project_id: _Optional[str] = ...) -> None: ...

class CreateDocumentResponse(_message.Message):
    __slots__ = ("document",)
    DOCUMENT_FIELD_NUMBER: _ClassVar[int]
    document: Document
    def __init__(self, document: _Optional[_Union[Document, _Mapping]] = ...) -> None: ...

class GetDocumentRequest(_message.Message):
    __slots__ = ("document_id", "project_id")
    DOCUMENT_ID_FIELD_NUMBER: _ClassVar[int]
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    document_id: str
    project_id: str
    def __init__(self, document_id: _Optional[str] = ..., project_id: _Optional[str] = ...) -> None: ...

class GetDocumentResponse(_message.Message):
    __slots__ = ("document",)
    DOCUMENT_FIELD_NUMBER: _ClassVar[int]
    document: Document
    def __init__(self, document: _Optional[_Union[Document, _Mapping]] = ...) -> None: ...

class ListDocumentsRequest(_message.Message):
    __slots__ = ("name", "tags", "limit", "cursor", "project_id")
    NAME_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    tags: _containers.RepeatedScalarFieldContainer[str]
    limit: int
    cursor: str
    project_id: str
    def __init__(self, name: _Optional[str] = ..., tags: _Optional[_Iterable[str]] = ..., limit: _Optional[int] = ..., cursor: _Optional[str] = ..., project_id: _Optional[str] = ...) -> None: ...

class ListDocumentsResponse(_message.Message):
    __slots__ = ("documents", "next_cursor")
    DOCUMENTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_CURSOR_FIELD_NUMBER: _ClassVar[int]
    documents: _containers.RepeatedCompositeFieldContainer[Document]
    next_cursor: str
    def __init__(self, documents: _Optional[_Iterable[_Union[Document, _Mapping]]] = ..., next_cursor: _Optional[str] = ...) -> None: ...

class SearchDocumentsRequest(_message.Message):
    __slots__ = ("query", "tags", "limit", "project_id")
    QUERY_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    query: str
    tags: _containers.RepeatedScalarFieldContainer[str]
    limit: int
    project_id: str
    def __init__(self, query: _Optional[str] = ..., tags: _Optional[_Iterable[str]] = ..., limit: _Optional[int] = ..., project_id: _Optional[str] = ...) -> None: ...

class SearchDocumentsResponse(_message.Message):
    __slots__ = ("query", "results")
    QUERY_FIELD_NUMBER: _ClassVar[int]
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    query: str
    results: _containers.RepeatedCompositeFieldContainer[DocumentFound]
    def __init__(self, query: _Optional[str] = ..., results: _Optional[_Iterable[_Union[DocumentFound, _Mapping]]] = ...) -> None: ...

class DocumentFound(_message.Message):
    __slots__ = ("document", "score", "sections")
    DOCUMENT_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    SECTIONS_FIELD_NUMBER: _ClassVar[int]
    document: Document
    score: float
    sections: _containers.RepeatedCompositeFieldContainer[DocumentSection]
    def __init__(self, document: _Optional[_Union[Document, _Mapping]] = ..., score: _Optional[float] = ..., sections: _Optional[_Iterable[_Union[DocumentSection, _Mapping]]] = ...) -> None: ...

class DocumentSection(_message.Message):
    __slots__ = ("score", "offset", "limit", "text")
    SCORE_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    score: float
    offset: int
    limit: int
    text: str
    def __init__(self, score: _Optional[float] = ..., offset: _Optional[int] = ..., limit: _Optional[int] = ..., text: _Optional[str] = ...) -> None: ...

class ReadDocumentRequest(_message.Message):
    __slots__ = ("document_id", "offset", "limit", "revision", "project_id")
    DOCUMENT_ID_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    document_id: str
    offset: int
    limit: int
    revision: int
    project_id: str
    def __init__(self, document_id: _Optional[str] = ..., offset: _Optional[int] = ..., limit: _Optional[int] = ..., revision: _Optional[int] = ..., project_id: _Optional[str] = ...) -> None: ...

class ReadDocumentResponse(_message.Message):
    __slots__ = ("document_id", "content_type", "text", "data", "revision", "total_chars", "start", "end")
    DOCUMENT_ID_FIELD_NUMBER: _ClassVar[int]
    CONTENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    TOTAL_CHARS_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    document_id: str
    content_type: str
    text: str
    data: bytes
    revision: int
    total_chars: int
    start: int
    end: int
    def __init__(self, document_id: _Optional[str] = ..., content_type: _Optional[str] = ..., text: _Optional[str] = ..., data: _Optional[bytes] = ..., revision: _Optional[int] = ..., total_chars: _Optional[int] = ..., start: _Optional[int] = ..., end: _Optional[int] = ...) -> None: ...

class WriteDocumentRequest(_message.Message):
    __slots__ = ("document_id", "text", "data", "expected_revision", "project_id")
    DOCUMENT_ID_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_REVISION_FIELD_NUMBER: _ClassVar[int]
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    document_id: str
    text: str
    data: bytes
    expected_revision: int
    project_id: str
    def __init__(self, document_id: _Optional[str] = ..., text: _Optional[str] = ..., data: _Optional[bytes] = ..., expected_revision: _Optional[int] = ..., project_id: _Optional[str] = ...) -> None: ...

class WriteDocumentResponse(_message.Message):
    __slots__ = ("document",)
    DOCUMENT_FIELD_NUMBER: _ClassVar[int]
    document: Document
    def __init__(self, document: _Optional[_Union[Document, _Mapping]] = ...) -> None: ...

class EditDocumentRequest(_message.Message):
    __slots__ = ("document_id", "old_text", "new_text", "replace_all", "offset", "length", "expected_revision", "project_id")
    DOCUMENT_ID_FIELD_NUMBER: _ClassVar[int]
    OLD_TEXT_FIELD_NUMBER: _ClassVar[int]
    NEW_TEXT_FIELD_NUMBER: _ClassVar[int]
    REPLACE_ALL_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    LENGTH_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_REVISION_FIELD_NUMBER: _ClassVar[int]
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    document_id: str
    old_text: str
    new_text: str
    replace_all: bool
    offset: int
    length: int
    expected_revision: int
    project_id: str
    def __init__(self, document_id: _Optional[str] = ..., old_text: _Optional[str] = ..., new_text: _Optional[str] = ..., replace_all: bool = ..., offset: _Optional[int] = ..., length: _Optional[int] = ..., expected_revision: _Optional[int] = ..., project_id: _Optional[str] = ...) -> None: ...

class EditDocumentResponse(_message.Message):
    __slots__ = ("document", "replacements_made")
    DOCUMENT_FIELD_NUMBER: _ClassVar[int]
    REPLACEMENTS_MADE_FIELD_NUMBER: _ClassVar[int]
    document: Document
    replacements_made: int
    def __init__(self, document: _Optional[_Union[Document, _Mapping]] = ..., replacements_made: _Optional[int] = ...) -> None: ...

class UpdateDocumentRequest(_message.Message):
    __slots__ = ("document_id", "filename", "tags", "clear_tags", "metadata", "project_id")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    DOCUMENT_ID_FIELD_NUMBER: _ClassVar[int]
    FILENAME_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    CLEAR_TAGS_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    document_id: str
    filename: str
    tags: _containers.RepeatedScalarFieldContainer[str]
    clear_tags: bool
    metadata: _containers.ScalarMap[str, str]
    project_id: str
    def __init__(self, document_id: _Optional[str] = ..., filename: _Optional[str] = ..., tags: _Optional[_Iterable[str]] = ..., clear_tags: bool = ..., metadata: _Optional[_Mapping[str, str]] = ..., project_id: _Optional[str] = ...) -> None: ...

class UpdateDocumentResponse(_message.Message):
    __slots__ = ("document",)
    DOCUMENT_FIELD_NUMBER: _ClassVar[int]
    document: Document
    def __init__(self, document: _Optional[_Union[Document, _Mapping]] = ...) -> None: ...

class DeleteDocumentRequest(_message.Message):
    __slots__ = ("document_id", "project_id")
    DOCUMENT_ID_FIELD_NUMBER: _ClassVar[int]
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    document_id: str
    project_id: str
    def __init__(self, document_id: _Optional[str] = ..., project_id: _Optional[str] = ...) -> None: ...

class DeleteDocumentResponse(_message.Message):
    __slots__ = ("document_id", "deleted_document_ids")
    DOCUMENT_ID_FIELD_NUMBER: _ClassVar[int]
    DELETED_DOCUMENT_IDS_FIELD_NUMBER: _ClassVar[int]
    document_id: str
    deleted_document_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, document_id: _Optional[str] = ..., deleted_document_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class ListDocumentRevisionsRequest(_message.Message):
    __slots__ = ("document_id", "project_id")
    DOCUMENT_ID_FIELD_NUMBER: _ClassVar[int]
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    document_id: str
    project_id: str
    def __init__(self, document_id: _Optional[str] = ..., project_id: _Optional[str] = ...) -> None: ...

class ListDocumentRevisionsResponse(_message.Message):
    __slots__ = ("revisions",)
    REVISIONS_FIELD_NUMBER: _ClassVar[int]
    revisions: _containers.RepeatedCompositeFieldContainer[DocumentRevision]
    def __init__(self, revisions: _Optional[_Iterable[_Union[DocumentRevision, _Mapping]]] = ...) -> None: ...

class DocumentRevision(_message.Message):
    __slots__ = ("revision", "size_bytes", "checksum", "written_by", "written_at", "total_chars")
    REVISION_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    CHECKSUM_FIELD_NUMBER: _ClassVar[int]
    WRITTEN_BY_FIELD_NUMBER: _ClassVar[int]
    WRITTEN_AT_FIELD_NUMBER: _ClassVar[int]
    TOTAL_CHARS_FIELD_NUMBER: _ClassVar[int]
    revision: int
    size_bytes: int
    checksum: str
    written_by: str
    written_at: _timestamp_pb2.Timestamp
    total_chars: int
    def __init__(self, revision: _Optional[int] = ..., size_bytes: _Optional[int] = ..., checksum: _Optional[str] = ..., written_by: _Optional[str] = ..., written_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., total_chars: _Optional[int] = ...) -> None: ...

class CreateDocumentRelationRequest(_message.Message):
    __slots__ = ("from_document_id", "to_document_id", "type", "from_note", "to_note", "project_id")
    FROM_DOCUMENT_ID_FIELD_NUMBER: _ClassVar[int]
    TO_DOCUMENT_ID_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    FROM_NOTE_FIELD_NUMBER: _ClassVar[int]
    TO_NOTE_FIELD_NUMBER: _ClassVar[int]
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    from_document_id: str
    to_document_id: str
    type: DocumentRelationType
    from_note: str
    to_note: str
    project_id: str
    def __init__(self, from_document_id: _Optional[str] = ..., to_document_id: _Optional[str] = ..., type: _Optional[_Union[DocumentRelationType, str]] = ..., from_note: _Optional[str] = ..., to_note: _Optional[str] = ..., project_id: _Optional[str] = ...) -> None: ...

class CreateDocumentRelationResponse(_message.Message):
    __slots__ = ("relation",)
    RELATION_FIELD_NUMBER: _ClassVar[int]
    relation: DocumentRelation
    def __init__(self, relation: _Optional[_Union[DocumentRelation, _Mapping]] = ...) -> None: ...

class ListDocumentRelationsRequest(_message.Message):
    __slots__ = ("document_id", "project_id")
    DOCUMENT_ID_FIELD_NUMBER: _ClassVar[int]
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    document_id: str
    project_id: str
    def __init__(self, document_id: _Optional[str] = ..., project_id: _Optional[str] = ...) -> None: ...

class ListDocumentRelationsResponse(_message.Message):
    __slots__ = ("relations",)
    RELATIONS_FIELD_NUMBER: _ClassVar[int]
    relations: _containers.RepeatedCompositeFieldContainer[DocumentRelation]
    def __init__(self, relations: _Optional[_Iterable[_Union[DocumentRelation, _Mapping]]] = ...) -> None: ...

class UpdateDocumentRelationRequest(_message.Message):
    __slots__ = ("relation_id", "from_note", "to_note", "project_id")
    RELATION_ID_FIELD_NUMBER: _ClassVar[int]
    FROM_NOTE_FIELD_NUMBER: _ClassVar[int]
    TO_NOTE_FIELD_NUMBER: _ClassVar[int]
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    relation_id: str
    from_note: str
    to_note: str
    project_id: str
    def __init__(self, relation_id: _Optional[str] = ..., from_note: _Optional[str] = ..., to_note: _Optional[str] = ..., project_id: _Optional[str] = ...) -> None: ...

class UpdateDocumentRelationResponse(_message.Message):
    __slots__ = ("relation",)
    RELATION_FIELD_NUMBER: _ClassVar[int]
    relation: DocumentRelation
    def __init__(self, relation: _Optional[_Union[DocumentRelation, _Mapping]] = ...) -> None: ...

class DeleteDocumentRelationRequest(_message.Message):
    __slots__ = ("relation_id", "project_id")
    RELATION_ID_FIELD_NUMBER: _ClassVar[int]
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    relation_id: str
    project_id: str
    def __init__(self, relation_id: _Optional[str] = ..., project_id: _Optional[str] = ...) -> None: ...

class DeleteDocumentRelationResponse(_message.Message):
    __slots__ = ("relation_id",)
    RELATION_ID_FIELD_NUMBER: _ClassVar[int]
    relation_id: str
    def __init__(self, relation_id: _Optional[str] = ...) -> None: ...
