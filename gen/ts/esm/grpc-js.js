// Clients of @grpc/grpc-js from the same service descriptors that Connect uses.
import { create, fromBinary, toBinary, } from "@bufbuild/protobuf";
import { makeGenericClientConstructor, } from "@grpc/grpc-js";
import { StatusSchema } from "./google/rpc/status_pb.js";
/** Returns a client of `service`. Close it with `client.close()`. */
export function createGrpcClient(service, address, credentials, options = {}) {
    const constructor = makeGenericClientConstructor(serviceDefinition(service), service.typeName);
    return new constructor(address, credentials, options);
}
/** Returns the definition that grpc-js clients and servers are made from. */
export function serviceDefinition(service) {
    return Object.fromEntries(service.methods.map((method) => [
        method.localName,
        {
            path: `/${service.typeName}/${method.name}`,
            originalName: method.localName,
            requestStream: streamsRequests(method),
            responseStream: streamsResponses(method),
            ...serializer("request", method.input),
            ...serializer("response", method.output),
        },
    ]));
}
/** Returns the `google.rpc.Status` of an error; its details are decoded with `anyUnpack`. Undefined if it has none. */
export function errorStatus(error) {
    const [bytes] = error.metadata.get("grpc-status-details-bin");
    return bytes instanceof Uint8Array ? fromBinary(StatusSchema, bytes) : undefined;
}
function serializer(side, schema) {
    return {
        [`${side}Serialize`]: (message) => Buffer.from(toBinary(schema, create(schema, message))),
        [`${side}Deserialize`]: (bytes) => fromBinary(schema, bytes),
    };
}
function streamsRequests(method) {
    return method.methodKind === "client_streaming" || method.methodKind === "bidi_streaming";
}
function streamsResponses(method) {
    return method.methodKind === "server_streaming" || method.methodKind === "bidi_streaming";
}
