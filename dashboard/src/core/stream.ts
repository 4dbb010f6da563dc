// A stream of JSON messages: over WebSocket, or as server-sent events over fetch where a proxy lets no WebSocket through.

import { sseMessages } from "../lib/sse.ts";
import { ApiError, type Params, query, request } from "./api.ts";
import { distrust, trusted } from "./identity.ts";
import { settled, token } from "./session.ts";

/** A stream that says nothing for so long is dead: the sidecar sends a cursor, or no lines, every 15 seconds. */
export const SILENCE_MS = 45_000;

export type StreamEnd = "closed" | "refused";
export type Options = {
  /** Called when the stream is open. */
  onOpen?(): void;
  /** Called with why the sidecar refused it. */
  onRefused?(error: ApiError): void;
  /** Without a message for this long, the connection counts as dead. */
  silenceMs?: number;
};
const RETRY_WEB_SOCKETS_MS = 60_000;
let webSocketsWork = true;

/** Reads a stream until it ends or `signal` aborts. Resolves with how: `refused` if it never opened. */
export async function readStream(
  path: string,
  params: Params,
  onMessage: (message: never) => void,
  signal: AbortSignal,
  options: Options = {},
): Promise<StreamEnd> {
  await settled();
  try {
    await trusted();
  } catch {
    return "refused";
  }
  if (webSocketsWork) {
    const ended = await overWebSocket(path, params, onMessage, signal, options);
    if (ended === "closed" || signal.aborted) return ended;
    // Refused: by a proxy, or because nothing answers, or because the token is no longer valid.
  }
  const ended = await overFetch(path, params, onMessage, signal, options);
  // For this page; the sidecar may only have come back between the two, so the next one tries again after a while.
  if (ended === "closed" && webSocketsWork) {
    webSocketsWork = false;
    setTimeout(() => {
      webSocketsWork = true;
    }, RETRY_WEB_SOCKETS_MS);
  }
  return ended;
}

/** Calls `act` once nothing was heard for a time; without one, never. */
function watchSilence(milliseconds: number | undefined, act: () => void): { heard(): void; stop(): void } {
  let timer = 0;
  const stop = () => clearTimeout(timer);
  const heard = () => {
    stop();
    if (milliseconds) timer = window.setTimeout(act, milliseconds);
  };
  return { heard, stop };
}

function overWebSocket(
  path: string,
  params: Params,
  onMessage: (message: never) => void,
  signal: AbortSignal,
  options: Options,
): Promise<StreamEnd> {
  return new Promise((resolve) => {
    if (signal.aborted) {
      resolve("closed");
      return;
    }
    const address = new URL(path + query(params), location.href.replace(/^http/, "ws"));
    const socket = new WebSocket(address, ["cco.v1", `cco.token.${token.value}`]);
    let opened = false;
    const finish = () => {
      silence.stop();
      if (!signal.aborted) distrust();
      signal.removeEventListener("abort", close);
      resolve(opened ? "closed" : "refused");
    };
    const close = () => {
      socket.onclose = null;
      socket.close();
      finish();
    };
    const silence = watchSilence(options.silenceMs, close);
    // Also while it opens.
    silence.heard();
    signal.addEventListener("abort", close);
    socket.onopen = () => {
      opened = true;
      silence.heard();
      options.onOpen?.();
    };
    socket.onmessage = ({ data }) => {
      silence.heard();
      onMessage(JSON.parse(data) as never);
    };
    socket.onclose = finish;
  });
}

async function overFetch(
  path: string,
  params: Params,
  onMessage: (message: never) => void,
  signal: AbortSignal,
  options: Options,
): Promise<StreamEnd> {
  const quiet = new AbortController();
  const silence = watchSilence(options.silenceMs, () => quiet.abort());
  let opened = false;
  try {
    const answer = await request(
      "GET",
      path + query(params),
      undefined,
      AbortSignal.any([signal, quiet.signal]),
      "text/event-stream",
    );
    opened = true;
    silence.heard();
    options.onOpen?.();
    const reader = (answer.body as ReadableStream<BufferSource>).pipeThrough(new TextDecoderStream()).getReader();
    const parse = sseMessages();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return "closed";
      silence.heard();
      for (const message of parse(value)) onMessage(message as never);
    }
  } catch (error) {
    if (error instanceof ApiError) options.onRefused?.(error);
    return opened ? "closed" : "refused";
  } finally {
    silence.stop();
    if (!signal.aborted) distrust();
  }
}
