// Calls of the REST API.
import { distrust, trusted } from "./identity.ts";
import { end, settled, token } from "./session.ts";

/** A call that failed; `code` is one of the documented ones, empty when the sidecar did not answer. */
export class ApiError extends Error {
  constructor(
    message: string,
    readonly code: string,
    readonly status: number,
  ) {
    super(message);
  }
}

export type Params = Record<string, string | number | boolean | undefined>;

/** Returns the query of the parameters that are set, with its question mark. */
export function query(params: Params): string {
  const given = Object.entries(params).filter(([, value]) => value !== undefined && value !== "" && value !== false);
  const text = new URLSearchParams(given.map(([name, value]) => [name, String(value)])).toString();
  return text && `?${text}`;
}

/** Returns an ID as a segment of a path. `.` and `..` would lead elsewhere, however they are written. */
export function segment(id: string): string {
  return /^\.{1,2}$/.test(id) ? "%20" : encodeURIComponent(id);
}

export function get<T>(path: string, params: Params = {}, signal?: AbortSignal): Promise<T> {
  return call("GET", path + query(params), undefined, signal);
}

export function post<T>(path: string, body: object = {}): Promise<T> {
  return call("POST", path, body);
}

export function remove<T>(path: string, params: Params = {}): Promise<T> {
  return call("DELETE", path + query(params));
}

/** Calls the API and returns the response, whose body is not read yet. Throws ApiError. */
export async function request(
  method: string,
  path: string,
  body?: object,
  signal?: AbortSignal,
  accept = "application/json",
): Promise<Response> {
  await settled();
  if (!token.value) throw new ApiError("nobody is signed in", "", 401);
  const headers: Record<string, string> = { Authorization: `Bearer ${token.value}`, Accept: accept };
  if (body) headers["Content-Type"] = "application/json";
  const used = token.value;
  let answer: Response;
  try {
    await trusted();
    answer = await fetch(path, { method, headers, body: body && JSON.stringify(body), signal });
  } catch (problem) {
    if (signal?.aborted) throw problem;
    distrust();
    throw new ApiError("the sidecar does not answer", "", 0);
  }
  if (answer.ok) return answer;
  const error = await answer.json().catch(() => ({}));
  // A token that was renewed meanwhile is not the end.
  if (answer.status === 401 && used === token.value) end(error.message ?? "the session has ended");
  throw new ApiError(error.message ?? `the sidecar answered ${answer.status}`, error.code ?? "", answer.status);
}

async function call<T>(method: string, path: string, body?: object, signal?: AbortSignal): Promise<T> {
  return (await request(method, path, body, signal)).json();
}

/** Yields all items of a list, page by page, at most `most` of them. */
export async function* pages<T>(path: string, name: string, params: Params, most = Number.POSITIVE_INFINITY) {
  let cursor: string | null | undefined = "";
  let count = 0;
  do {
    const page: Record<string, T[]> & { next_cursor?: string | null } = await get(path, {
      limit: 1000,
      ...params,
      cursor,
    });
    const items = page[name] ?? [];
    count += items.length;
    yield items;
    cursor = page.next_cursor;
  } while (cursor && count < most);
}
