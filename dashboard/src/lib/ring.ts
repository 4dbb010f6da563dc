/** The newest items of a sequence, at most `most`. Older ones are dropped in blocks, so that adding is cheap. */
export class Ring<T> {
  items: T[] = [];

  constructor(private readonly most: number) {}

  append(more: T[]): void {
    for (const item of more) this.items.push(item);
    const over = this.items.length - this.most;
    if (over > this.most / 10) {
      this.items = this.items.slice(over);
    }
  }

  /** Adds older items in front, as many as fit. Returns whether all did. */
  prepend(older: T[]): boolean {
    const fits = Math.max(0, this.most - this.items.length);
    const kept = fits < older.length ? older.slice(older.length - fits) : older;
    this.items = kept.concat(this.items);
    return kept.length === older.length;
  }
}
