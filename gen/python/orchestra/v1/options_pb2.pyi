from google.protobuf import descriptor_pb2 as _descriptor_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Mode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MODE_UNSPECIFIED: _ClassVar[Mode]
    MODE_UNARY: _ClassVar[Mode]
    MODE_WAIT: _ClassVar[Mode]
    MODE_STREAM: _ClassVar[Mode]

class Permission(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PERMISSION_UNSPECIFIED: _ClassVar[Permission]
    PERMISSION_AUTHENTICATED: _ClassVar[Permission]
    PERMISSION_READ_CONTEXT: _ClassVar[Permission]
    PERMISSION_WRITE_RESULTS: _ClassVar[Permission]
    PERMISSION_PUBLISH_EVENTS: _ClassVar[Permission]
    PERMISSION_SPAWN_AGENTS: _ClassVar[Permission]
    PERMISSION_OPERATOR: _ClassVar[Permission]
    PERMISSION_RUN_AGENTS: _ClassVar[Permission]

class Open(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OPEN_UNSPECIFIED: _ClassVar[Open]
    OPEN_LOOPBACK: _ClassVar[Open]
    OPEN_ANYONE: _ClassVar[Open]

class Home(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    HOME_UNSPECIFIED: _ClassVar[Home]
    HOME_LEADER: _ClassVar[Home]
    HOME_AGENT: _ClassVar[Home]
    HOME_SESSION: _ClassVar[Home]
    HOME_SIDECAR: _ClassVar[Home]

class Format(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FORMAT_UNSPECIFIED: _ClassVar[Format]
    FORMAT_ID: _ClassVar[Format]
    FORMAT_FILTER: _ClassVar[Format]
    FORMAT_CONTEXT_PART: _ClassVar[Format]

class Scope(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SCOPE_UNSPECIFIED: _ClassVar[Scope]
    SCOPE_PROJECT: _ClassVar[Scope]
    SCOPE_PROJECT_OR_ALL: _ClassVar[Scope]
    SCOPE_READ_ISSUE: _ClassVar[Scope]
    SCOPE_FILTER_ISSUE: _ClassVar[Scope]
    SCOPE_WRITE_ISSUE: _ClassVar[Scope]
    SCOPE_READ_TYPE: _ClassVar[Scope]
    SCOPE_WRITE_TYPE: _ClassVar[Scope]
    SCOPE_SUBJECT: _ClassVar[Scope]
    SCOPE_OPERATOR: _ClassVar[Scope]
    SCOPE_ANY: _ClassVar[Scope]
MODE_UNSPECIFIED: Mode
MODE_UNARY: Mode
MODE_WAIT: Mode
MODE_STREAM: Mode
PERMISSION_UNSPECIFIED: Permission
PERMISSION_AUTHENTICATED: Permission
PERMISSION_READ_CONTEXT: Permission
PERMISSION_WRITE_RESULTS: Permission
PERMISSION_PUBLISH_EVENTS: Permission
PERMISSION_SPAWN_AGENTS: Permission
PERMISSION_OPERATOR: Permission
PERMISSION_RUN_AGENTS: Permission
OPEN_UNSPECIFIED: Open
OPEN_LOOPBACK: Open
OPEN_ANYONE: Open
HOME_UNSPECIFIED: Home
HOME_LEADER: Home
HOME_AGENT: Home
HOME_SESSION: Home
HOME_SIDECAR: Home
FORMAT_UNSPECIFIED: Format
FORMAT_ID: Format
FORMAT_FILTER: Format
FORMAT_CONTEXT_PART: Format
SCOPE_UNSPECIFIED: Scope
SCOPE_PROJECT: Scope
SCOPE_PROJECT_OR_ALL: Scope
SCOPE_READ_ISSUE: Scope
SCOPE_FILTER_ISSUE: Scope
SCOPE_WRITE_ISSUE: Scope
SCOPE_READ_TYPE: Scope
SCOPE_WRITE_TYPE: Scope
SCOPE_SUBJECT: Scope
SCOPE_OPERATOR: Scope
SCOPE_ANY: Scope
CALL_FIELD_NUMBER: _ClassVar[int]
call: _descriptor.FieldDescriptor
FIELD_FIELD_NUMBER: _ClassVar[int]
field: _descriptor.FieldDescriptor
JSON_UNION_FIELD_NUMBER: _ClassVar[int]
json_union: _descriptor.FieldDescriptor
JSON_LENIENT_FIELD_NUMBER: _ClassVar[int]
json_lenient: _descriptor.FieldDescriptor

class CallRules(_message.Message):
    __slots__ = ("success_code", "mode", "permission", "open", "confidential", "max_request_bytes", "dashboard", "changes", "home", "home_optional")
    SUCCESS_CODE_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    PERMISSION_FIELD_NUMBER: _ClassVar[int]
    OPEN_FIELD_NUMBER: _ClassVar[int]
    CONFIDENTIAL_FIELD_NUMBER: _ClassVar[int]
    MAX_REQUEST_BYTES_FIELD_NUMBER: _ClassVar[int]
    DASHBOARD_FIELD_NUMBER: _ClassVar[int]
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    HOME_FIELD_NUMBER: _ClassVar[int]
    HOME_OPTIONAL_FIELD_NUMBER: _ClassVar[int]
    success_code: int
    mode: Mode
    permission: Permission
    open: Open
    confidential: bool
    max_request_bytes: int
    dashboard: bool
    changes: bool
    home: Home
    home_optional: bool
    def __init__(self, success_code: _Optional[int] = ..., mode: _Optional[_Union[Mode, str]] = ..., permission: _Optional[_Union[Permission, str]] = ..., open: _Optional[_Union[Open, str]] = ..., confidential: bool = ..., max_request_bytes: _Optional[int] = ..., dashboard: bool = ..., changes: bool = ..., home: _Optional[_Union[Home, str]] = ..., home_optional: bool = ...) -> None: ...

class FieldRules(_message.Message):
    __slots__ = ("required", "format", "max_length", "minimum", "maximum", "extra", "nullable", "syntax", "secret", "no_nul", "internal", "scope", "json_name", "choices")
    REQUIRED_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    MAX_LENGTH_FIELD_NUMBER: _ClassVar[int]
    MINIMUM_FIELD_NUMBER: _ClassVar[int]
    MAXIMUM_FIELD_NUMBER: _ClassVar[int]
    EXTRA_FIELD_NUMBER: _ClassVar[int]
    NULLABLE_FIELD_NUMBER: _ClassVar[int]
    SYNTAX_FIELD_NUMBER: _ClassVar[int]
    SECRET_FIELD_NUMBER: _ClassVar[int]
    NO_NUL_FIELD_NUMBER: _ClassVar[int]
    INTERNAL_FIELD_NUMBER: _ClassVar[int]
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    JSON_NAME_FIELD_NUMBER: _ClassVar[int]
    CHOICES_FIELD_NUMBER: _ClassVar[int]
    required: bool
    format: Format
    max_length: int
    minimum: float
    maximum: float
    extra: bool
    nullable: bool
    syntax: str
    secret: bool
    no_nul: bool
    internal: bool
    scope: Scope
    json_name: str
    choices: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, required: bool = ..., format: _Optional[_Union[Format, str]] = ..., max_length: _Optional[int] = ..., minimum: _Optional[float] = ..., maximum: _Optional[float] = ..., extra: bool = ..., nullable: bool = ..., syntax: _Optional[str] = ..., secret: bool = ..., no_nul: bool = ..., internal: bool = ..., scope: _Optional[_Union[Scope, str]] = ..., json_name: _Optional[str] = ..., choices: _Optional[_Iterable[str]] = ...) -> None: ...
