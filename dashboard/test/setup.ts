// What the modules look at when they are loaded, outside a browser.
const store = new Map<string, string>();
const storage = {
  getItem: (key: string) => store.get(key) ?? null,
  setItem: (key: string, value: string) => void store.set(key, value),
  removeItem: (key: string) => void store.delete(key),
};
class Channel {
  onmessage = null;
  postMessage() {}
  addEventListener() {}
}
const none = () => undefined;
Object.assign(globalThis, {
  location: { hash: "#/events?filter=a%3Ab&project=x", href: "http://localhost/" },
  history: { replaceState: none },
  sessionStorage: storage,
  localStorage: storage,
  addEventListener: none,
  document: { addEventListener: none, hidden: false, documentElement: { dataset: {} } },
  matchMedia: () => ({ matches: false, addEventListener: none }),
  BroadcastChannel: Channel,
  window: globalThis,
});
// Timers of the page must not keep the tests running.
const original = globalThis.setInterval;
const unreferenced = (...given: Parameters<typeof original>) => original(...given).unref();
globalThis.setInterval = unreferenced as typeof original;

export {};
