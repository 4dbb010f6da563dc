// A complete agent in TypeScript, with Connect: it reads its context, follows the comments of a review, and stores a
// result. It keeps on when the sidecar restarts: calls are repeated, and the subscription continues after its cursor.

import { setTimeout as pause } from "node:timers/promises";

import { create, mergeFromBinary, toBinary } from "@bufbuild/protobuf";
import { Code, ConnectError, createClient, type Interceptor } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { ErrorInfoSchema } from "@visiquate/cco-sidecar-client/google/rpc/error_details";
import { AgentService } from "@visiquate/cco-sidecar-client/orchestra/v1/agent_service";
import { ContextSchema, ContextService, type Context } from "@visiquate/cco-sidecar-client/orchestra/v1/context_service";
import { EventService } from "@visiquate/cco-sidecar-client/orchestra/v1/event_service";
import { ResultService, ResultStatus } from "@visiquate/cco-sidecar-client/orchestra/v1/result_service";

import { agentId, agentType, issueId, target, Token } from "./environment.js";

const token = new Token();
const authorise: Interceptor = (next) => async (request) => {
  if (token.expiresSoon && request.method.name !== "RefreshToken") {
    token.value = (await agents.refreshToken({})).jwtToken;
  }
  request.header.set("authorization", `Bearer ${token.value}`);
  return next(request);
};
const transport = createGrpcTransport({ baseUrl: `http://${target}`, interceptors: [authorise] });
const agents = createClient(AgentService, transport);
const contexts = createClient(ContextService, transport);
const events = createClient(EventService, transport);
const results = createClient(ResultService, transport);

/** Tells a lost connection ("canceled" in the middle of a stream) and a sidecar that is stopping from other errors. */
function isTemporary({ code, rawMessage }: ConnectError): boolean {
  return code === Code.Unavailable || code === Code.Canceled || rawMessage.includes("NGHTTP2_REFUSED_STREAM");
}

/** Repeats a call that the sidecar was not there to answer, for at most two minutes. */
async function retry<T>(call: () => Promise<T>): Promise<T> {
  for (const giveUp = Date.now() + 120_000; ; await pause(200)) {
    try {
      return await call();
    } catch (error) {
      if (!isTemporary(ConnectError.from(error)) || Date.now() > giveUp) throw error;
    }
  }
}

/** Reads a context of any size, in parts that merge. */
async function readContext(): Promise<Context> {
  const read = create(ContextSchema);
  for await (const part of contexts.streamContext({ issueId, agentType })) {
    if (part.fragment) mergeFromBinary(ContextSchema, read, toBinary(ContextSchema, part.fragment));
  }
  return read;
}

/** Announces something about the issue once, however often the call has to be repeated. */
async function publish(eventType: string): Promise<string> {
  const idempotencyKey = `${agentId} ${eventType}`;
  const { eventId } = await retry(() => events.publishEvent({ eventType, topic: "implementation", idempotencyKey }));
  return eventId;
}

/** Handles each comment after the cursor once, until the review is finished. */
async function followReview(cursor: string): Promise<number> {
  let comments = 0;
  let finished = false;
  while (!finished) {
    await retry(async () => {
      const eventTypes = ["review_comment", "review_finished"];
      for await (const batch of events.subscribe({ eventTypes, since: cursor })) {
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
  await retry(() =>
    results.createResult({
      idempotencyKey: "result",
      result: {
        status: ResultStatus.SUCCESS,
        decisions: ["every comment of the review was handled"],
        metrics: { comments, context_bytes: contextBytes },
      },
    }),
  );
  await publish("implementation_complete");
}

/** Adds the sidecar's error code, which REST shows too. */
function describe(error: unknown): string {
  if (!(error instanceof ConnectError)) return String(error);
  const [info] = error.findDetails(ErrorInfoSchema);
  return `${info?.reason ?? Code[error.code]}: ${error.rawMessage}`;
}

try {
  await run();
} catch (error) {
  console.error(describe(error));
  process.exitCode = 1;
}
