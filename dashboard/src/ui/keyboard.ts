// Keys of the whole page. In a field, only those with Ctrl or Command count.
import { go, params, set, view } from "../core/route.ts";
import { helpOpen } from "./help.tsx";
import { openPalette } from "./palette.tsx";

const SEQUENCE_MS = 1200;

function isTyping(target: EventTarget | null): boolean {
  return (
    target instanceof HTMLElement &&
    (target.isContentEditable || target.matches("input:not([type=range], [type=checkbox]), textarea, select"))
  );
}

/** Returns what a key says, or on a keyboard of another script what it says on a Latin one. */
function latin(event: KeyboardEvent): string {
  if (event.key.charCodeAt(0) < 128) return event.key.toLowerCase();
  if (event.code === "Slash") return event.shiftKey ? "?" : "/";
  return event.code.replace(/^(Key|Digit)/, "").toLowerCase();
}

/** Returns the handler: Ctrl+K, `/`, `?`, Escape, and `g` followed by the number of a view. */
export function onKeyDown(views: readonly string[]): (event: KeyboardEvent) => void {
  let began = 0;
  return (event) => {
    const key = latin(event);
    if ((event.ctrlKey || event.metaKey) && key === "k") {
      event.preventDefault();
      openPalette();
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape" && !document.querySelector("dialog[open]")) {
      if (isTyping(event.target)) {
        const field = event.target as HTMLElement;
        // What Escape empties no longer filters.
        if ("filter" in field.dataset && params.value.find) set({ find: "" }, true);
        field.blur();
      } else
        set({
          agent: "",
          event: "",
          session: "",
          document: "",
          file: "",
          ...(view.value === "issue" && { issue: "" }),
          a: "",
          b: "",
          revision: "",
          before: "",
        });
      return;
    }
    if (isTyping(event.target) || document.querySelector("dialog[open]")) return;
    if (Date.now() - began < SEQUENCE_MS && /^[1-9]$/.test(key)) {
      const chosen = views[Number(key) - 1];
      if (chosen) go(chosen);
      began = 0;
    } else if (key === "g") began = Date.now();
    else if (key === "/") {
      const field = document.querySelector<HTMLElement>("[data-filter]");
      if (field) {
        event.preventDefault();
        field.focus();
      }
    } else if (key === "?") helpOpen.value = true;
    else if (/^(j|k|arrow(up|down))$/.test(key) && event.target === document.body) {
      const list = document.querySelector<HTMLElement>(".list");
      list?.focus();
      list?.dispatchEvent(new KeyboardEvent("keydown", { key: event.key }));
      event.preventDefault();
    }
  };
}
