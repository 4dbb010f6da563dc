"use strict";
// Clients of @grpc/grpc-js from the same service descriptors that Connect uses.
Object.defineProperty(exports, "__esModule", { value: true });
exports.createGrpcClient = createGrpcClient;
exports.serviceDefinition = serviceDefinition;
exports.errorStatus = errorStatus;
const protobuf_1 = require("@bufbuild/protobuf");
const grpc_js_1 = require("@grpc/grpc-js");
const status_pb_js_1 = require("./google/rpc/status_pb.js");
/** Returns a client of `service`. Close it with `client.close()`. */
function createGrpcClient(service, address, credentials, options = {}) {
    const constructor = (0, grpc_js_1.makeGenericClientConstructor)(serviceDefinition(service), service.typeName);
    return new constructor(address, credentials, options);
}
/** Returns the definition that grpc-js clients and servers are made from. */
function serviceDefinition(service) {
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
function errorStatus(error) {
    const [bytes] = error.metadata.get("grpc-status-details-bin");
    return bytes instanceof Uint8Array ? (0, protobuf_1.fromBinary)(status_pb_js_1.StatusSchema, bytes) : undefined;
}
function serializer(side, schema) {
    return {
        [`${side}Serialize`]: (message) => Buffer.from((0, protobuf_1.toBinary)(schema, (0, protobuf_1.create)(schema, message))),
        [`${side}Deserialize`]: (bytes) => (0, protobuf_1.fromBinary)(schema, bytes),
    };
}
function streamsRequests(method) {
    return method.methodKind === "client_streaming" || method.methodKind === "bidi_streaming";
}
function streamsResponses(method) {
    return method.methodKind === "server_streaming" || method.methodKind === "bidi_streaming";
}
