// A complete agent in TypeScript, with @grpc/grpc-js: it reads its context, follows the comments of a review, and stores
// a result. It keeps on when the sidecar restarts: calls are repeated, and the subscription continues after its cursor.

import { promisify } from "node:util";
import { setTimeout as pause } from "node:timers/promises";

import { create, mergeFromBinary, toBinary } from "@bufbuild/protobuf";
import { anyUnpack } from "@bufbuild/protobuf/wkt";
import { credentials, Metadata, status, type ServiceError } from "@grpc/grpc-js";
import { ErrorInfoSchema } from "@visiquate/cco-sidecar-client/google/rpc/error_details";
import { createGrpcClient, errorStatus } from "@visiquate/cco-sidecar-client/grpc-js";
import { AgentService } from "@visiquate/cco-sidecar-client/orchestra/v1/agent_service";
import { ContextSchema, ContextService, type Context } from "@visiquate/cco-sidecar-client/orchestra/v1/context_service";
import { EventService, type PublishEventResponse } from "@visiquate/cco-sidecar-client/orchestra/v1/event_service";
import { ResultService, ResultStatus } from "@visiquate/cco-sidecar-client/orchestra/v1/result_service";

import { agentId, agentType, issueId, target, Token } from "./environment.js";

const insecure = credentials.createInsecure();
const agents = createGrpcClient(AgentService, target, insecure);
const contexts = createGrpcClient(ContextService, target, insecure);
const events = createGrpcClient(EventService, target, insecure);
const results = createGrpcClient(ResultService, target, insecure);
const token = new Token();

/** Turns the callback of a unary call into a promise. */
function answer<T>(call: (callback: (error: ServiceError | null, value?: T) => void) => unknown): Promise<T> {
  return promisify<T>((done) => void call((error, value) => done(error, value as T)))();
}

/** Returns the metadata of a call, with a token that is still valid for a while. */
async function authorised(): Promise<Metadata> {
  if (token.expiresSoon) {
    const refreshed = await answer<{ jwtToken: string }>((done) => agents.refreshToken({}, bearer(), done));
    token.value = refreshed.jwtToken;
  }
  return bearer();
}

function bearer(): Metadata {
  const metadata = new Metadata();
  metadata.set("authorization", `Bearer ${token.value}`);
  return metadata;
}

/** Repeats a call that the sidecar was not there to answer, for at most two minutes. */
async function retry<T>(call: (metadata: Metadata) => Promise<T>): Promise<T> {
  for (const giveUp = Date.now() + 120_000; ; await pause(200)) {
    try {
      return await call(await authorised());
    } catch (error) {
      if ((error as ServiceError).code !== status.UNAVAILABLE || Date.now() > giveUp) throw error;
    }
  }
}

/** Reads a context of any size; `getContext` is limited by the client, by default to 4 MB. */
async function readContext(metadata: Metadata): Promise<Context> {
  const read = create(ContextSchema);
  for await (const part of contexts.streamContext({ issueId, agentType }, metadata)) {
    if (part.fragment) mergeFromBinary(ContextSchema, read, toBinary(ContextSchema, part.fragment));
  }
  return read;
}

/** Announces something about the issue once, however often the call has to be repeated. */
async function publish(eventType: string): Promise<string> {
  const request = { eventType, topic: "implementation", idempotencyKey: `${agentId} ${eventType}` };
  const published = await retry((metadata) =>
    answer<PublishEventResponse>((done) => events.publishEvent(request, metadata, done)),
  );
  return published.eventId;
}

/** Handles each comment after the cursor once, until the review is finished. */
async function followReview(cursor: string): Promise<number> {
  let comments = 0;
  let finished = false;
  while (!finished) {
    await retry(async (metadata) => {
      const eventTypes = ["review_comment", "review_finished"];
      const batches = events.subscribe({ eventTypes, since: cursor }, metadata);
      try {
        for await (const batch of batches) {
          if (batch.gap) throw new Error(`${batch.gap.missed} events are no longer retained`);
          for (const event of batch.events) {
            if (event.eventType === "review_finished") {
              finished = true;
              return;
            }
            comments += 1;
            console.log(`comment ${event.data?.["number"]}`);
          }
          cursor = batch.cursor;
        }
      } finally {
        // Leaving the loop does not end the call.
        batches.cancel();
      }
    });
  }
  return comments;
}

async function run(): Promise<void> {
  const read = await retry(readContext);
  const contextBytes = toBinary(ContextSchema, read).length;
  console.log(`context: ${read.relevantFiles.length} files, ${contextBytes} bytes`);
  const started = await publish("implementation_started");
  const comments = await followReview(started);
  const result = {
    status: ResultStatus.SUCCESS,
    decisions: ["every comment of the review was handled"],
    metrics: { comments, context_bytes: contextBytes },
  };
  const request = { result, idempotencyKey: "result" };
  await retry((metadata) => answer((done) => results.createResult(request, metadata, done)));
  await publish("implementation_complete");
}

/** Adds the sidecar's error code, which REST shows too. */
function describe(error: unknown): string {
  if (!(error instanceof Error && "code" in error && "metadata" in error)) return String(error);
  const { code, details } = error as ServiceError;
  const infos = errorStatus(error as ServiceError)?.details.map((detail) => anyUnpack(detail, ErrorInfoSchema));
  const info = infos?.find((each) => each !== undefined);
  return `${info?.reason ?? status[code]}: ${details}`;
}

try {
  await run();
} catch (error) {
  console.error(describe(error));
  process.exitCode = 1;
} finally {
  for (const client of [agents, contexts, events, results]) client.close();
}
