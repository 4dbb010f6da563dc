/** Returns how well a text matches what was typed: higher is better, 0 for not at all. The letters must appear in order. */
export function score(typed: string, text: string): number {
  const wanted = typed.toLowerCase().replaceAll(" ", "");
  const given = text.toLowerCase();
  if (!wanted) return 1;
  const whole = given.indexOf(typed.toLowerCase().trim());
  if (whole >= 0) return 1000 - Math.min(500, whole) - Math.min(400, given.length);
  let at = 0;
  let points = 0;
  for (const letter of wanted) {
    const found = given.indexOf(letter, at);
    if (found < 0) return 0;
    const begins = found === 0 || /[\s\-_/.:]/.test(given[found - 1] ?? "");
    points += found === at ? 3 : begins ? 2 : 1;
    at = found + 1;
  }
  return points / (1 + given.length / 50);
}
