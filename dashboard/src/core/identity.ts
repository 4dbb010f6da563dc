// Who answers: after every interruption the server proves that it is the sidecar of the login, before it gets the token.
// Another program may have taken the port meanwhile.

const KEY = "cco.identity";
const DIRECT = "cco.direct";

type Answer = { port: number; dashboard_port?: number; session_proof?: string };

let checked: Promise<void> | null = null;

/** Remembers the key of a login. `direct`: whether the page comes from a port of the sidecar, not of a proxy. */
export async function introduced(key: string, session: string): Promise<void> {
  sessionStorage.setItem(KEY, `${session} ${key}`);
  sessionStorage.removeItem(DIRECT);
  checked = null;
  const answer = await ask(session, key).catch(() => null);
  if (answer && isOurPort(answer)) sessionStorage.setItem(DIRECT, "1");
}

/** Called when a connection failed or ended: whoever answers next must prove itself again. */
export function distrust(): void {
  checked = null;
}

/** Resolves once the server has proved itself. Rejects if another program answers, or none. */
export async function trusted(): Promise<void> {
  checked ??= check();
  try {
    await checked;
  } catch (error) {
    checked = null;
    throw error;
  }
}

async function check(): Promise<void> {
  const [session, key] = (sessionStorage.getItem(KEY) ?? "").split(" ");
  // Without TLS, a page of another machine has no cryptography, and its network is trusted as it is.
  if (!session || !key || !globalThis.crypto?.subtle) return;
  const answer = await ask(session, key);
  if (!answer || (sessionStorage.getItem(DIRECT) && !isOurPort(answer))) {
    throw new Error("another program answers on the port of the sidecar");
  }
}

const isOurPort = ({ port, dashboard_port }: Answer): boolean => {
  const own = Number(location.port || (location.protocol === "https:" ? 443 : 80));
  return own === port || own === dashboard_port;
};

/** Returns what the server says of itself, or null if it cannot prove it. */
async function ask(session: string, key: string): Promise<Answer | null> {
  const nonce = hex(crypto.getRandomValues(new Uint8Array(16)));
  const found = await fetch(`/api/identity?nonce=${nonce}&session=${session}`);
  const answer = (await found.json()) as Answer;
  const text = `cco-dashboard/1\n${nonce}\n${answer.port}\n${answer.dashboard_port ?? 0}`;
  return (await hmac(key, text)) === answer.session_proof ? answer : null;
}

/** Returns the HMAC-SHA256 of a text, in hexadecimal like its key. */
export async function hmac(key: string, text: string): Promise<string> {
  const octets = Uint8Array.from(key.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
  const made = await crypto.subtle.importKey("raw", octets, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  return hex(new Uint8Array(await crypto.subtle.sign("HMAC", made, new TextEncoder().encode(text))));
}

const hex = (octets: Uint8Array): string => Array.from(octets, (octet) => octet.toString(16).padStart(2, "0")).join("");
