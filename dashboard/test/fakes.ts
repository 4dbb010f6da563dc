// A sidecar without a network: what it is asked, what it answers, and sockets that the test opens, feeds and closes.
import "./setup.ts";
import { mock } from "node:test";
import { token } from "../src/core/session.ts";

/** Returns a token with these claims; nobody checks its signature here. */
export function tokenOf(claims: object): string {
  return `x.${btoa(JSON.stringify(claims)).replaceAll("=", "")}.y`;
}

export class Socket {
  static opened: Socket[] = [];
  onopen: (() => void) | null = null;
  onmessage: ((message: { data: string }) => void) | null = null;
  onclose: (() => void) | null = null;
  closed = false;

  constructor(
    readonly address: URL,
    readonly protocols: string[],
  ) {
    Socket.opened.push(this);
  }

  static get last(): Socket {
    return Socket.opened.at(-1) as Socket;
  }

  open(): this {
    this.onopen?.();
    return this;
  }

  say(message: object): this {
    this.onmessage?.({ data: JSON.stringify(message) });
    return this;
  }

  /** The sidecar, or the network, ends it. */
  end(): void {
    this.onclose?.();
  }

  close(): void {
    this.closed = true;
    this.onclose?.();
  }
}

type Answer = { status?: number; body?: object; stream?: string[] };
export type Asked = { method: string; path: string; params: Record<string, string>; authorization: string | null };

export class Sidecar {
  readonly asked: Asked[] = [];
  /** What it answers; nothing, as if nobody listens, without one. */
  answer: (asked: Asked) => Answer | undefined | Promise<Answer | undefined> = () => undefined;

  constructor() {
    Socket.opened = [];
    token.value = tokenOf({ exp: 1e10, jti: "one" });
    Object.assign(globalThis, {
      WebSocket: Socket,
      requestAnimationFrame: (act: () => void) => setTimeout(act, 16),
      fetch: (path: string, given: RequestInit = {}) => this.fetch(path, given),
    });
  }

  count(path: string): number {
    return this.asked.filter((each) => each.path === path).length;
  }

  private async fetch(path: string, given: RequestInit): Promise<Response> {
    const address = new URL(path, "http://localhost/");
    const asked = {
      method: given.method ?? "GET",
      path: address.pathname,
      params: Object.fromEntries(address.searchParams),
      authorization: new Headers(given.headers).get("Authorization"),
    };
    this.asked.push(asked);
    const answer = await this.answer(asked);
    if (!answer) throw new TypeError("fetch failed");
    const body = answer.stream ? streamOf(answer.stream) : JSON.stringify(answer.body ?? {});
    return new Response(body, { status: answer.status ?? 200 });
  }
}

function streamOf(pieces: string[]): ReadableStream<Uint8Array<ArrayBuffer>> {
  return new ReadableStream({
    start(controller) {
      for (const piece of pieces) controller.enqueue(new TextEncoder().encode(piece));
      controller.close();
    },
  });
}

/** Lets everything happen that waits for no timer. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 50; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}

/** Lets time pass, in milliseconds, with what happens in it. */
export async function pass(milliseconds: number): Promise<void> {
  mock.timers.tick(milliseconds);
  await settle();
}
