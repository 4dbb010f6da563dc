// Text of agents as it is shown: nothing in it can hide or turn around what stands beside it.

// Escape sequences of terminals (ECMA-48): colours, cursor movements, titles, links.
const SEQUENCES = /\u001b(?:\[[0-?]*[ -/]*[@-~]|\][^\u0007\u001b]*(?:\u0007|\u001b\\)|[@-Z\\-_])/g;
// Control characters but tab and line feed; marks that turn text around (UAX #9), and others that show nothing.
const INVISIBLE =
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u115f\u1160\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\ufff9-\ufffb]|[\u{e0000}-\u{e007f}]/gu;

/** Removes the escape sequences of terminals, and shows every other invisible character by its code point. */
export function visible(text: string): string {
  return text
    .replace(/\r\n/g, "\n")
    .replace(SEQUENCES, "")
    .replace(INVISIBLE, (each) => {
      const point = each.codePointAt(0) ?? 0;
      return `<U+${point.toString(16).toUpperCase().padStart(4, "0")}>`;
    });
}

/** The same on one line, cut to a length. */
export function oneLine(text: string, most = 200): string {
  const line = visible(text.slice(0, most * 4))
    .replace(/\s+/g, " ")
    .trim();
  return line.length > most ? `${line.slice(0, most - 1)}…` : line;
}
