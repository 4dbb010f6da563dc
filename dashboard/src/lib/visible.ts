// Text of agents as it is shown: nothing in it can hide or turn around what stands beside it.

// Escape sequences of terminals (ECMA-48): colours, cursor movements, titles, links.
const SEQUENCES =
  /\u001b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_][^\u0007\u001b]*(?:\u0007|\u001b\\)|[ -/]+[0-~]|[0-OQ-WYZ\\`-~])/g;
// Control characters but tab and line feed; marks that turn text around (UAX #9), and others that show nothing. A joiner
// between two pictures, or two Arabic letters, is part of a word.
const INVISIBLE =
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\ufff9-\ufffb]|\u034f|[\u{e0000}-\u{e01ef}]|(?<![\p{Extended_Pictographic}\d#*])[\ufe00-\ufe0f]|(?<!\p{Extended_Pictographic}\ufe0f?)\u200d|\u200d(?!\p{Extended_Pictographic})|(?<!\p{Script=Arabic})\u200c|\u200c(?!\p{Script=Arabic})/gu;

/** Shows every invisible character by its code point. Nothing is removed: a command is shown as it would run. */
export function visible(text: string): string {
  return text.replace(/\r\n/g, "\n").replace(INVISIBLE, (each) => {
    const point = each.codePointAt(0) ?? 0;
    return `<U+${point.toString(16).toUpperCase().padStart(4, "0")}>`;
  });
}

/** The output of a program as a terminal shows it, without escape sequences. */
export const terminal = (text: string): string => visible(text.replace(SEQUENCES, ""));

/** What `visible` shows, on one line, cut to a length. */
export function oneLine(text: string, most = 200): string {
  const line = visible(text.slice(0, most * 4))
    .replace(/\s+/g, " ")
    .trim();
  return line.length > most ? `${line.slice(0, most - 1)}…` : line;
}
