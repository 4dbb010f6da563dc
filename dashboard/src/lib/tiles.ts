// A tree map of files by size (Bruls, Huizing, van Wijk: Squarified Treemaps, 2000), laid out by d3-hierarchy.
import { hierarchy, treemap, treemapSquarify } from "d3-hierarchy";

export type Entry = { path: string; disposition: string; reason: string; bytes: number; score?: number };
export type Tile = {
  path: string;
  disposition: string;
  reason: string;
  size: number;
  x0: number;
  y0: number;
  x1: number;
  y1: number;
};

type Folder = { name: string; entry?: Entry; children?: Map<string, Folder> };

// Smaller ones cannot be seen or chosen.
const MOST_TILES = 600;

/** Returns the tiles of the largest files, those of a directory next to each other. */
export function layout(entries: Entry[], width: number, height: number): Tile[] {
  const top: Folder = { name: "", children: new Map() };
  const shown = [...entries].sort((a, b) => b.bytes - a.bytes).slice(0, MOST_TILES);
  for (const entry of shown) {
    let at = top;
    for (const part of entry.path.split("/")) {
      const children = at.children ?? new Map<string, Folder>();
      at.children = children;
      const next = children.get(part) ?? { name: part };
      children.set(part, next);
      at = next;
    }
    at.entry = entry;
  }
  const root = hierarchy<Folder>(top, (folder) => (folder.children ? [...folder.children.values()] : null))
    .sum((folder) => (folder.entry ? Math.max(64, folder.entry.bytes) : 0))
    .sort((a, b) => (b.value ?? 0) - (a.value ?? 0));
  const laid = treemap<Folder>().tile(treemapSquarify).size([width, height]).paddingInner(1.5)(root);
  return laid.leaves().flatMap((leaf) => {
    const entry = leaf.data.entry;
    if (!entry) return [];
    const { path, disposition, reason } = entry;
    return [{ path, disposition, reason, size: entry.bytes, x0: leaf.x0, y0: leaf.y0, x1: leaf.x1, y1: leaf.y1 }];
  });
}
