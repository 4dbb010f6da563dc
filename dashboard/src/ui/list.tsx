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
  // The first row in sight, which stays where it is when rows come and go above it.
  const anchor = useRef({ id: "", index: 0, offset: 0 });
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
    const { id, index, offset } = anchor.current;
    const at = items[index];
    if (props.follow && atEnd.current) element.scrollTop = element.scrollHeight;
    else if (id && element.scrollTop > 0 && (at === undefined || idOf(at) !== id)) {
      const now = items.findIndex((item) => idOf(item) === id);
      if (now >= 0) element.scrollTop = now * rowHeight + offset;
      anchor.current.index = Math.max(0, now);
    }
    measure();
  }, [items, items.length, props.follow]);

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
    const index = Math.floor(element.scrollTop / rowHeight);
    const item = items[index];
    anchor.current = { id: item === undefined ? "" : idOf(item), index, offset: element.scrollTop - index * rowHeight };
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
      role={items.length > 0 ? "listbox" : "region"}
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
