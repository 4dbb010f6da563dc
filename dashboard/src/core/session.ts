// The browser session: a short-lived token in this tab's sessionStorage, never in a cookie, which other ports of this
// machine would be sent too.
import { signal } from "@preact/signals";

const KEY = "cco.token";
// The sidecar renews a token in its last five minutes.
const RENEW_SECONDS = 270;
const CHECK_MS = 15_000;
const ASK_MS = 700;

/** The token of this tab; null when nobody is signed in. */
export const token = signal<string | null>(null);
/** Why nobody is signed in any more; empty at first. */
export const endedBecause = signal("");

type Claims = { exp: number; iat: number; jti: string; auth_time?: number };

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

/** Takes the login code out of an address, so that it stays neither there nor in the history. */
function takeCode(): string {
  const found = /^#login=([\w-]+)$/.exec(location.hash);
  if (found) history.replaceState(null, "", sessionStorage.getItem("cco.place") ?? "/");
  return found?.[1] ?? "";
}

/** Signs in with the code of the address, the token of this tab, or the help of another tab. */
export async function start(): Promise<void> {
  const code = takeCode();
  if (code) await signIn(code);
  else keep(sessionStorage.getItem(KEY));
  if (!token.value) await askOtherTabs();
  setInterval(renewInTime, CHECK_MS);
  document.addEventListener("visibilitychange", renewInTime);
}

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
    keep(body.jwt_token);
    return "";
  } catch {
    return end("the sidecar does not answer");
  }
}

/** Forgets the token, here and in the sidecar. */
export async function signOut(): Promise<void> {
  const jti = claimsOf(token.value ?? "")?.jti;
  const headers = { Authorization: `Bearer ${token.value}`, "Content-Type": "application/json" };
  end("you signed out");
  await fetch("/api/tokens/revoke", { method: "POST", headers, body: JSON.stringify({ jti }) }).catch(() => undefined);
}

/** Ends the session in this tab. Returns the reason. */
export function end(reason: string): string {
  sessionStorage.removeItem(KEY);
  token.value = null;
  endedBecause.value = reason;
  return reason;
}

function keep(text: string | null): void {
  const claims = claimsOf(text ?? "");
  if (text && claims && claims.exp * 1000 > Date.now()) {
    sessionStorage.setItem(KEY, text);
    token.value = text;
    endedBecause.value = "";
  } else {
    sessionStorage.removeItem(KEY);
    token.value = null;
  }
}

let renewing: Promise<void> | null = null;

function renewInTime(): void {
  const claims = claimsOf(token.value ?? "");
  if (!claims) return;
  const left = claims.exp - Date.now() / 1000;
  if (left <= 0) end("the session has expired");
  else if (left <= RENEW_SECONDS && !renewing) {
    renewing = renew().finally(() => {
      renewing = null;
    });
  }
}

async function renew(): Promise<void> {
  const answer = await fetch("/api/tokens/refresh", {
    method: "POST",
    headers: { Authorization: `Bearer ${token.value}`, "Content-Type": "application/json" },
    body: "{}",
  }).catch(() => null);
  // Without an answer, the next check tries again.
  if (answer?.ok) keep((await answer.json()).jwt_token);
  else if (answer && answer.status === 401) end((await answer.json()).message);
}

/** Resolves when no renewal is under way, which replaces the token. */
export async function settled(): Promise<void> {
  await renewing;
}

// A link that is opened in a new tab finds no token there. The tabs of this origin (no other port can listen) help each
// other to a code; each has a token of its own.
type Said = { ask: string } | { to: string; code: string };
const channel = new BroadcastChannel("cco.login");
const answered = new Set<string>();

channel.onmessage = async ({ data }: MessageEvent<Said>) => {
  if ("to" in data) {
    answered.add(data.to);
    return;
  }
  // One tab answers, not all.
  await new Promise((resolve) => setTimeout(resolve, Math.random() * 120));
  if (!token.value || answered.has(data.ask)) return;
  answered.add(data.ask);
  const answer = await fetch("/api/login-codes", {
    method: "POST",
    headers: { Authorization: `Bearer ${token.value}`, "Content-Type": "application/json" },
    body: "{}",
  }).catch(() => null);
  if (answer?.ok) channel.postMessage({ to: data.ask, code: (await answer.json()).code });
};

async function askOtherTabs(): Promise<void> {
  const ask = crypto.randomUUID?.() ?? String(Math.random());
  const code = await new Promise<string>((resolve) => {
    const hear = ({ data }: MessageEvent<Said>) => {
      if ("to" in data && data.to === ask) resolve(data.code);
    };
    channel.addEventListener("message", hear);
    channel.postMessage({ ask });
    setTimeout(() => {
      channel.removeEventListener("message", hear);
      resolve("");
    }, ASK_MS);
  });
  if (code) await signIn(code);
}
