"""What an RPC must declare: fields in nested messages too."""

from __future__ import annotations

import pytest
from google.api import annotations_pb2
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor import MethodDescriptor

from cco_sidecar.core.services import require_options
from orchestra.v1 import options_pb2


@pytest.fixture(scope="module")
def method() -> MethodDescriptor:
    """An RPC whose request has a field without a scope in a message in a message."""
    file = descriptor_pb2.FileDescriptorProto(
        name="orchestra/v1/nested_test.proto", package="orchestra.v1", syntax="proto3"
    )
    for name, field, kind, type_name in (
        ("NestedTestInner", "issue_id", "TYPE_STRING", ""),
        ("NestedTestMiddle", "inner", "TYPE_MESSAGE", ".orchestra.v1.NestedTestInner"),
        ("NestedTestRequest", "middle", "TYPE_MESSAGE", ".orchestra.v1.NestedTestMiddle"),
    ):
        message = file.message_type.add(name=name)
        message.field.add(name=field, number=1, type=kind, label="LABEL_OPTIONAL", type_name=type_name or None)
    service = file.service.add(name="NestedTestService")
    rpc = service.method.add(
        name="Try", input_type=".orchestra.v1.NestedTestRequest", output_type=".orchestra.v1.NestedTestRequest"
    )
    rpc.options.Extensions[annotations_pb2.http].get = "/api/nested"
    call = rpc.options.Extensions[options_pb2.call]
    call.permission, call.success_code, call.mode = options_pb2.PERMISSION_READ_CONTEXT, 200, options_pb2.MODE_UNARY
    pool = descriptor_pool.Default()
    pool.AddSerializedFile(file.SerializeToString())
    return pool.FindServiceByName("orchestra.v1.NestedTestService").methods_by_name["Try"]


def test_a_nested_field_without_a_scope_is_named(method: MethodDescriptor) -> None:
    with pytest.raises(TypeError, match=r"add a scope to middle\.inner\.issue_id in NestedTestRequest"):
        require_options(method)
