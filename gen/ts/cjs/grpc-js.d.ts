import { type DescMessage, type DescMethodBiDiStreaming, type DescMethodClientStreaming, type DescMethodServerStreaming, type DescMethodUnary, type DescService, type MessageInitShape, type MessageShape } from "@bufbuild/protobuf";
import { type CallOptions, type ChannelCredentials, type Client, type ClientDuplexStream, type ClientOptions, type ClientReadableStream, type ClientUnaryCall, type ClientWritableStream, type Metadata, type requestCallback, type ServiceDefinition, type ServiceError } from "@grpc/grpc-js";
import { type Status } from "./google/rpc/status_pb.js";
interface UnaryCall<I extends DescMessage, O extends DescMessage> {
    (request: MessageInitShape<I>, callback: requestCallback<MessageShape<O>>): ClientUnaryCall;
    (request: MessageInitShape<I>, metadata: Metadata, callback: requestCallback<MessageShape<O>>): ClientUnaryCall;
    (request: MessageInitShape<I>, metadata: Metadata, options: CallOptions, callback: requestCallback<MessageShape<O>>): ClientUnaryCall;
}
interface ClientStreamCall<I extends DescMessage, O extends DescMessage> {
    (callback: requestCallback<MessageShape<O>>): ClientWritableStream<MessageInitShape<I>>;
    (metadata: Metadata, callback: requestCallback<MessageShape<O>>): ClientWritableStream<MessageInitShape<I>>;
}
interface Yields<T> {
    [Symbol.asyncIterator](): AsyncIterator<T>;
}
type ServerStreamCall<I extends DescMessage, O extends DescMessage> = (request: MessageInitShape<I>, metadata?: Metadata, options?: CallOptions) => Yields<MessageShape<O>> & ClientReadableStream<MessageShape<O>>;
type DuplexCall<I extends DescMessage, O extends DescMessage> = (metadata?: Metadata, options?: CallOptions) => Yields<MessageShape<O>> & ClientDuplexStream<MessageInitShape<I>, MessageShape<O>>;
type Call<M> = M extends DescMethodUnary<infer I, infer O> ? UnaryCall<I, O> : M extends DescMethodServerStreaming<infer I, infer O> ? ServerStreamCall<I, O> : M extends DescMethodClientStreaming<infer I, infer O> ? ClientStreamCall<I, O> : M extends DescMethodBiDiStreaming<infer I, infer O> ? DuplexCall<I, O> : never;
/** A grpc-js client with one method for each RPC, in grpc-js's own shapes. */
export type GrpcClient<S extends DescService> = Client & {
    [M in keyof S["method"]]: Call<S["method"][M]>;
};
/** Returns a client of `service`. Close it with `client.close()`. */
export declare function createGrpcClient<S extends DescService>(service: S, address: string, credentials: ChannelCredentials, options?: Partial<ClientOptions>): GrpcClient<S>;
/** Returns the definition that grpc-js clients and servers are made from. */
export declare function serviceDefinition(service: DescService): ServiceDefinition;
/** Returns the `google.rpc.Status` of an error; its details are decoded with `anyUnpack`. Undefined if it has none. */
export declare function errorStatus(error: ServiceError): Status | undefined;
export {};
