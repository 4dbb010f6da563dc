import { signal } from "@preact/signals";

/** Milliseconds since 1970, updated every second while the page is visible, for relative times. */
export const now = signal(Date.now());
setInterval(() => {
  if (!document.hidden) now.value = Date.now();
}, 1000);
