import { computed, effect, signal } from "@preact/signals";

export type Choice = "system" | "light" | "dark";

const KEY = "cco.theme";
const dark = matchMedia("(prefers-color-scheme: dark)");
const systemDark = signal(dark.matches);
dark.addEventListener("change", () => {
  systemDark.value = dark.matches;
});

export const choice = signal<Choice>((localStorage.getItem(KEY) as Choice | null) ?? "system");
export const theme = computed(() => (choice.value === "system" ? (systemDark.value ? "dark" : "light") : choice.value));

effect(() => {
  document.documentElement.dataset.theme = theme.value;
});

/** Goes on to the next choice: system, light, dark. */
export function nextTheme(): void {
  const next: Record<Choice, Choice> = { system: "light", light: "dark", dark: "system" };
  choice.value = next[choice.value];
  localStorage.setItem(KEY, choice.value);
}
