/** Which rows of equal height are in sight, with some above and below. */
export function windowOf(
  count: number,
  rowHeight: number,
  scrollTop: number,
  height: number,
  spare = 8,
): [number, number] {
  const first = Math.max(0, Math.min(count, Math.floor(scrollTop / rowHeight)) - spare);
  return [first, Math.min(count, Math.ceil((scrollTop + height) / rowHeight) + spare)];
}
