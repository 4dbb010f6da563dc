// What the page shows is in its address: `#/team?agent=...`. So every view has a link, and Back works.
import { computed, signal } from "@preact/signals";

export type Route = { view: string; params: Record<string, string> };

/** Parses the hash of an address. */
export function parse(hash: string): Route {
  const [path = "", search = ""] = hash.replace(/^#\/?/, "").split("?");
  return { view: path || "team", params: Object.fromEntries(new URLSearchParams(search)) };
}

/** Returns the hash of a view. Empty parameters are left out. */
export function format(view: string, params: Record<string, string | undefined> = {}): string {
  const given = Object.entries(params).filter((each): each is [string, string] => Boolean(each[1]));
  const search = new URLSearchParams(given).toString();
  return `#/${view}${search ? `?${search}` : ""}`;
}

const current = signal<Route>(parse(location.hash));
// So that a login link, which opens in this tab, leads back to where it was.
const remember = () => sessionStorage.setItem("cco.place", location.hash || "/");
addEventListener("hashchange", () => {
  // A login link, which the session takes.
  if (location.hash.startsWith("#login=")) return;
  current.value = parse(location.hash);
  remember();
});

/** Reads the address again, after a login took its code out of it. */
export function reread(): void {
  current.value = parse(location.hash);
}

export const view = computed(() => current.value.view);
export const params = computed(() => current.value.params);
/** The project of all views; empty for the default one. */
export const project = computed(() => current.value.params.project ?? "");

/** Returns the address of a view in the same project. */
export function link(to: string, wanted: Record<string, string | undefined> = {}): string {
  return format(to, { project: project.value, ...wanted });
}

/** Shows a view. */
export function go(to: string, wanted: Record<string, string | undefined> = {}): void {
  location.hash = link(to, wanted);
}

/** Changes parameters of the view. Typing in a filter replaces the entry in the history instead of adding one. */
export function set(changes: Record<string, string | undefined>, replace = false): void {
  const hash = format(current.value.view, { ...current.value.params, ...changes });
  if (!replace) {
    location.hash = hash;
    return;
  }
  history.replaceState(null, "", hash);
  current.value = parse(hash);
  remember();
}
