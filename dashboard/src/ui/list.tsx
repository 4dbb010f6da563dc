import type { ComponentChildren } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { windowOf } from "../lib/window.ts";

type Props<T> = {
  items: readonly T[];
  rowHeight: number;
  label: string;
  idOf(item: T): string;
  render(item: T, index: number): ComponentChildren;
  /** ID of the item that is open. */
  selected?: string;
  onSelect?(item: T): void;
  /** Headings between the items cannot be chosen. */
  isHeading?(item: T): boolean;
  /** Keeps the end in sight while it is, such as for a log. */
  follow?: boolean;
  /** Number of items that were dropped at the front, so that what is in sight stays. */
  dropped?: number;
  /** What is shown instead of no items. */
  empty?: ComponentChildren;
  onTop?(): void;
};

/** A list of rows of equal height, of which only those in sight are in the document. Arrow keys move, Enter opens. */
export function List<T>(props: Props<T>) {
  const { items, rowHeight, idOf, selected } = props;
  const box = useRef<HTMLDivElement>(null);
  const [view, setView] = useState<[number, number]>([0, 40]);
  const atEnd = useRef(true);
  const before = useRef({ dropped: 0, length: 0, first: "" });
  const [active, setActive] = useState("");

  const measure = () => {
    const element = box.current;
    if (!element) return;
    const next = windowOf(items.length, rowHeight, element.scrollTop, element.clientHeight);
    setView((old) => (old[0] === next[0] && old[1] === next[1] ? old : next));
  };

  // For the observer, which is made once.
  const latest = useRef(measure);
  latest.current = measure;

  useLayoutEffect(() => {
    const element = box.current;
    if (!element) return;
    const first = items[0] === undefined ? "" : idOf(items[0]);
    const was = before.current;
    if (props.follow && atEnd.current) element.scrollTop = element.scrollHeight;
    else if (props.follow && was.first && first !== was.first) {
      // Rows were added or dropped in front: keep what is in sight where it is.
      const added = items.length - was.length;
      const dropped = (props.dropped ?? 0) - was.dropped;
      element.scrollTop += (dropped > 0 ? -dropped : added) * rowHeight;
    }
    before.current = { dropped: props.dropped ?? 0, length: items.length, first };
    measure();
  }, [items, items.length, props.dropped, props.follow]);

  useEffect(() => {
    const element = box.current;
    if (!element) return;
    const observer = new ResizeObserver(() => latest.current());
    observer.observe(element);
    return () => observer.disconnect();
  }, []);

  const onScroll = () => {
    const element = box.current;
    if (!element) return;
    atEnd.current = element.scrollTop + element.clientHeight >= element.scrollHeight - rowHeight;
    if (element.scrollTop < rowHeight * 20) props.onTop?.();
    measure();
  };

  const move = (to: number, step: number) => {
    let index = Math.max(0, Math.min(items.length - 1, to));
    while (items[index] !== undefined && props.isHeading?.(items[index] as T)) index += step;
    const item = items[index];
    const element = box.current;
    if (item === undefined || !element) return;
    setActive(idOf(item));
    const top = index * rowHeight;
    if (top < element.scrollTop + rowHeight) element.scrollTop = top - rowHeight;
    else if (top + 2 * rowHeight > element.scrollTop + element.clientHeight) {
      element.scrollTop = top + 2 * rowHeight - element.clientHeight;
    }
  };

  const onKeyDown = (event: KeyboardEvent) => {
    if (event.target !== box.current) return;
    const focus = active || selected || "";
    const at = items.findIndex((item) => idOf(item) === focus);
    const page = Math.max(1, Math.floor((box.current?.clientHeight ?? 0) / rowHeight) - 2);
    const steps: Record<string, [number, number]> = {
      ArrowDown: [at + 1, 1],
      j: [at + 1, 1],
      ArrowUp: [Math.max(0, at - 1), -1],
      k: [Math.max(0, at - 1), -1],
      PageDown: [at + page, 1],
      PageUp: [at - page, -1],
      Home: [0, 1],
      End: [items.length - 1, -1],
    };
    const step = steps[event.key];
    const item = items[at];
    if (step) move(...step);
    else if ((event.key === "Enter" || event.key === " ") && item !== undefined) props.onSelect?.(item);
    else return;
    event.preventDefault();
  };

  const [first, last] = [Math.min(view[0], items.length), Math.min(view[1], items.length)];
  const rows = [];
  for (let index = first; index < last; index += 1) {
    const item = items[index] as T;
    const id = idOf(item);
    const heading = props.isHeading?.(item) ?? false;
    rows.push(
      <div
        key={id}
        id={`row-${id}`}
        class={heading ? "row heading" : "row"}
        role={heading ? "presentation" : "option"}
        aria-selected={heading ? undefined : id === selected}
        aria-setsize={heading ? undefined : items.length}
        aria-posinset={heading ? undefined : index + 1}
        data-active={id === active || undefined}
        style={{ top: `${index * rowHeight}px`, height: `${rowHeight}px` }}
        onClick={heading ? undefined : () => props.onSelect?.(item)}
      >
        {props.render(item, index)}
      </div>,
    );
  }
  const shown = active && rows.some((row) => row.key === active) ? `row-${active}` : undefined;
  return (
    <div
      class="list"
      ref={box}
      role="listbox"
      aria-label={props.label}
      aria-activedescendant={shown}
      tabIndex={0}
      onScroll={onScroll}
      onKeyDown={onKeyDown}
    >
      <div class="rows" role="presentation" style={{ height: `${items.length * rowHeight}px` }}>
        {rows}
      </div>
      {items.length === 0 && <div class="empty">{props.empty ?? "Nothing here."}</div>}
    </div>
  );
}
