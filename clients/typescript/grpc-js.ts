// Clients of @grpc/grpc-js from the same service descriptors that Connect uses.

import {
  create,
  fromBinary,
  toBinary,
  type DescMessage,
  type DescMethod,
  type DescMethodBiDiStreaming,
  type DescMethodClientStreaming,
  type DescMethodServerStreaming,
  type DescMethodUnary,
  type DescService,
  type MessageInitShape,
  type MessageShape,
} from "@bufbuild/protobuf";
import {
  makeGenericClientConstructor,
  type CallOptions,
  type ChannelCredentials,
  type Client,
  type ClientDuplexStream,
  type ClientOptions,
  type ClientReadableStream,
  type ClientUnaryCall,
  type ClientWritableStream,
  type Metadata,
  type requestCallback,
  type ServiceDefinition,
  type ServiceError,
} from "@grpc/grpc-js";

import { StatusSchema, type Status } from "./google/rpc/status_pb.js";

interface UnaryCall<I extends DescMessage, O extends DescMessage> {
  (request: MessageInitShape<I>, callback: requestCallback<MessageShape<O>>): ClientUnaryCall;
  (request: MessageInitShape<I>, metadata: Metadata, callback: requestCallback<MessageShape<O>>): ClientUnaryCall;
  (
    request: MessageInitShape<I>,
    metadata: Metadata,
    options: CallOptions,
    callback: requestCallback<MessageShape<O>>,
  ): ClientUnaryCall;
}

interface ClientStreamCall<I extends DescMessage, O extends DescMessage> {
  (callback: requestCallback<MessageShape<O>>): ClientWritableStream<MessageInitShape<I>>;
  (metadata: Metadata, callback: requestCallback<MessageShape<O>>): ClientWritableStream<MessageInitShape<I>>;
}

// Node's types say that a stream of objects yields `any`.
interface Yields<T> {
  [Symbol.asyncIterator](): AsyncIterator<T>;
}

type ServerStreamCall<I extends DescMessage, O extends DescMessage> = (
  request: MessageInitShape<I>,
  metadata?: Metadata,
  options?: CallOptions,
) => Yields<MessageShape<O>> & ClientReadableStream<MessageShape<O>>;

type DuplexCall<I extends DescMessage, O extends DescMessage> = (
  metadata?: Metadata,
  options?: CallOptions,
) => Yields<MessageShape<O>> & ClientDuplexStream<MessageInitShape<I>, MessageShape<O>>;

type Call<M> =
  M extends DescMethodUnary<infer I, infer O>
    ? UnaryCall<I, O>
    : M extends DescMethodServerStreaming<infer I, infer O>
      ? ServerStreamCall<I, O>
      : M extends DescMethodClientStreaming<infer I, infer O>
        ? ClientStreamCall<I, O>
        : M extends DescMethodBiDiStreaming<infer I, infer O>
          ? DuplexCall<I, O>
          : never;

/** A grpc-js client with one method for each RPC, in grpc-js's own shapes. */
export type GrpcClient<S extends DescService> = Client & { [M in keyof S["method"]]: Call<S["method"][M]> };

/** Returns a client of `service`. Close it with `client.close()`. */
export function createGrpcClient<S extends DescService>(
  service: S,
  address: string,
  credentials: ChannelCredentials,
  options: Partial<ClientOptions> = {},
): GrpcClient<S> {
  const constructor = makeGenericClientConstructor(serviceDefinition(service), service.typeName);
  return new constructor(address, credentials, options) as unknown as GrpcClient<S>;
}

/** Returns the definition that grpc-js clients and servers are made from. */
export function serviceDefinition(service: DescService): ServiceDefinition {
  return Object.fromEntries(
    service.methods.map((method) => [
      method.localName,
      {
        path: `/${service.typeName}/${method.name}`,
        originalName: method.localName,
        requestStream: streamsRequests(method),
        responseStream: streamsResponses(method),
        ...serializer("request", method.input),
        ...serializer("response", method.output),
      },
    ]),
  ) as unknown as ServiceDefinition;
}

/** Returns the `google.rpc.Status` of an error; its details are decoded with `anyUnpack`. Undefined if it has none. */
export function errorStatus(error: ServiceError): Status | undefined {
  const [bytes] = error.metadata.get("grpc-status-details-bin");
  return bytes instanceof Uint8Array ? fromBinary(StatusSchema, bytes) : undefined;
}

function serializer(side: "request" | "response", schema: DescMessage) {
  return {
    [`${side}Serialize`]: (message: MessageInitShape<DescMessage>) =>
      Buffer.from(toBinary(schema, create(schema, message))),
    [`${side}Deserialize`]: (bytes: Uint8Array) => fromBinary(schema, bytes),
  };
}

function streamsRequests(method: DescMethod): boolean {
  return method.methodKind === "client_streaming" || method.methodKind === "bidi_streaming";
}

function streamsResponses(method: DescMethod): boolean {
  return method.methodKind === "server_streaming" || method.methodKind === "bidi_streaming";
}
