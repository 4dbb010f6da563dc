"""What server reflection needs beyond grpcio-reflection: version 1, and methods asked for by name."""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, text_format
from grpc_reflection.v1alpha import reflection_pb2

V1 = "grpc.reflection.v1.ServerReflection"
_V1_FILE = "grpc/reflection/v1/reflection.proto"


class Descriptors:
    """The default pool, in which reflection looks for what clients ask about."""

    def __init__(self) -> None:
        self._pool = descriptor_pool.Default()
        try:
            self._pool.FindFileByName(_V1_FILE)
        except KeyError:
            # The messages of the two versions are the same:
            # https://github.com/grpc/grpc/blob/master/doc/server-reflection.md
            file = descriptor_pb2.FileDescriptorProto()
            reflection_pb2.DESCRIPTOR.CopyToProto(file)
            text = text_format.MessageToString(file).replace("v1alpha", "v1")
            file = text_format.Parse(text.replace("grpc_reflection/", "grpc/reflection/"), file.__class__())
            self._pool.AddSerializedFile(file.SerializeToString())

    def FindFileContainingSymbol(self, symbol: str) -> Any:
        """As in the pool, which does not know methods and fields: those are in the file of what contains them."""
        try:
            return self._pool.FindFileContainingSymbol(symbol)
        except KeyError:
            container, dot, _ = symbol.rpartition(".")
            if not dot:
                raise
            found = self._pool.FindFileContainingSymbol(container)
            if not _contains(found, container, symbol):
                raise
            return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pool, name)


def _contains(file: Any, container: str, symbol: str) -> bool:
    """Returns true if the file has a service with that method, or a message with that field."""
    package = f"{file.package}."
    name, member = container.removeprefix(package), symbol.rpartition(".")[2]
    if service := file.services_by_name.get(name):
        return member in service.methods_by_name
    message = file.message_types_by_name.get(name)
    return message is not None and member in message.fields_by_name
