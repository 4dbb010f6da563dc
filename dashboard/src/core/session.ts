// The browser session: a short-lived token in this tab's sessionStorage, never in a cookie, which other ports of this
// machine would be sent too.
import { signal } from "@preact/signals";
import { introduced, trusted } from "./identity.ts";

const KEY = "cco.token";
const SKEW = "cco.skew";
// The sidecar renews a token in its last five minutes.
const RENEW_SECONDS = 270;
const CHECK_MS = 15_000;
const ASK_MS = 1500;

/** The token of this tab; null when nobody is signed in. */
export const token = signal<string | null>(null);
/** Why nobody is signed in any more; empty at first. */
export const endedBecause = signal("");

type Claims = { exp: number; iat: number; jti: string; sid?: string; auth_time?: number };

/** Returns the claims of a token, or null for a text that is none. */
export function claimsOf(text: string): Claims | null {
  try {
    const part = (text.split(".")[1] ?? "").replaceAll("-", "+").replaceAll("_", "/");
    const claims = JSON.parse(atob(part)) as Claims;
    return typeof claims.exp === "number" ? claims : null;
  } catch {
    return null;
  }
}

/** Returns how long a token is still valid, in seconds, by the clock of the sidecar, which may differ from ours. */
function left(claims: Claims): number {
  return claims.exp - Date.now() / 1000 - Number(sessionStorage.getItem(SKEW) ?? 0);
}

const LOGIN = /^#login=([\w-]+)$/;

/** Takes the login code out of an address, so that it stays neither there nor in the history. */
function takeCode(): string {
  const code = LOGIN.exec(location.hash)?.[1] ?? "";
  if (code) history.replaceState(null, "", sessionStorage.getItem("cco.place") || "/");
  return code;
}

/** Signs in with the code of the address, the token of this tab, or the help of another tab. */
export async function start(): Promise<void> {
  const code = takeCode();
  if (code) await signIn(code);
  else keep(sessionStorage.getItem(KEY));
  if (!token.value) await askOtherTabs();
  else askForTwin();
  setInterval(renewInTime, CHECK_MS);
  document.addEventListener("visibilitychange", renewInTime);
}

// A login link that is opened in this tab only changes the hash.
addEventListener("hashchange", () => {
  const code = takeCode();
  if (code) void signIn(code);
});

/** Exchanges a login code for a token. Returns why that failed; empty if it did not. */
export async function signIn(code: string): Promise<string> {
  try {
    const answer = await fetch("/api/login-codes/exchange", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ code }),
    });
    const body = await answer.json();
    if (!answer.ok) return end(body.message);
    await introduced(body.identity_key, claimsOf(body.jwt_token)?.sid ?? "");
    keep(body.jwt_token, true);
    return "";
  } catch {
    return end("the sidecar does not answer");
  }
}

/** Forgets the token, here and in the sidecar. */
export async function signOut(): Promise<void> {
  const revoked = post("/api/tokens/revoke", { jti: claimsOf(token.value ?? "")?.jti });
  end("you signed out");
  await revoked;
}

/** Ends the session in this tab. Returns the reason. */
export function end(reason: string): string {
  sessionStorage.removeItem(KEY);
  token.value = null;
  endedBecause.value = reason;
  return reason;
}

function keep(text: string | null, fresh = false): void {
  const claims = claimsOf(text ?? "");
  if (claims && fresh) sessionStorage.setItem(SKEW, String(claims.iat - Date.now() / 1000));
  if (text && claims && left(claims) > 0) {
    sessionStorage.setItem(KEY, text);
    token.value = text;
    endedBecause.value = "";
  } else {
    sessionStorage.removeItem(KEY);
    token.value = null;
  }
}

/** Calls the sidecar with the token of this tab, once it has proved that it is the sidecar; null without an answer. */
async function post(path: string, body: object = {}, bearer = token.value): Promise<Response | null> {
  try {
    await trusted();
    const headers = { Authorization: `Bearer ${bearer}`, "Content-Type": "application/json" };
    return await fetch(path, { method: "POST", headers, body: JSON.stringify(body) });
  } catch {
    return null;
  }
}

let renewing: Promise<void> | null = null;

function renewInTime(): void {
  const claims = claimsOf(token.value ?? "");
  if (!claims) return;
  if (left(claims) <= 0) end("the session has expired");
  else if (left(claims) <= RENEW_SECONDS && !renewing) {
    renewing = renew().finally(() => {
      renewing = null;
    });
  }
}

async function renew(): Promise<void> {
  const answer = await post("/api/tokens/refresh");
  // Without an answer, the next check tries again.
  if (answer?.ok) keep((await answer.json()).jwt_token, true);
  else if (answer?.status === 401) end((await answer.json()).message);
}

/** Resolves when no renewal is under way, which replaces the token. */
export async function settled(): Promise<void> {
  await renewing;
}

// A link that is opened in a new tab finds no token there, and a duplicated tab has a copy of one. The tabs of this origin
// (no other port can listen) help each other: each has a token of its own, because renewing one revokes it.
type Said = { ask: string } | { to: string; code: string } | { mine: string; from: string } | { twin: string };
const channel = new BroadcastChannel("cco.login");
const self = crypto.randomUUID?.() ?? String(Math.random());

channel.onmessage = async ({ data }: MessageEvent<Said>) => {
  if ("ask" in data && token.value) {
    const code = await newCode();
    if (code) channel.postMessage({ to: data.ask, code });
  } else if ("to" in data && data.to === self) {
    onCode?.(data.code);
  } else if ("mine" in data && data.mine === claimsOf(token.value ?? "")?.jti) {
    channel.postMessage({ twin: data.from });
  } else if ("twin" in data && data.twin === self) {
    const code = await newCode();
    if (code) await signIn(code);
  }
};

async function newCode(): Promise<string> {
  const answer = await post("/api/login-codes");
  return answer?.ok ? (await answer.json()).code : "";
}

let onCode: ((code: string) => void) | null = null;

async function askOtherTabs(): Promise<void> {
  const code = await new Promise<string>((resolve) => {
    onCode = resolve;
    channel.postMessage({ ask: self });
    setTimeout(() => resolve(""), ASK_MS);
  });
  onCode = null;
  if (code) await signIn(code);
}

function askForTwin(): void {
  channel.postMessage({ mine: claimsOf(token.value ?? "")?.jti ?? "", from: self });
}
