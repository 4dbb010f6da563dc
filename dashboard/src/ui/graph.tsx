import { type Flow, HEIGHT, WIDTH } from "../lib/flow.ts";
import { oneLine } from "../lib/visible.ts";

/** Boxes and arrows. A box opens with a click, or with Enter when it has the focus. */
export function Graph(props: Flow & { label: string; onOpen(id: string): void }) {
  const { nodes, edges, width, height, onOpen } = props;
  return (
    <div class="scroll graph" tabIndex={0} role="region" aria-label={props.label}>
      <svg
        width={width + 20}
        height={height + 20}
        viewBox={`-10 -10 ${width + 20} ${height + 20}`}
        role="group"
        aria-label={props.label}
      >
        <defs>
          <marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">
            <path d="M0 0L8 4L0 8z" />
          </marker>
        </defs>
        {edges.map((edge) => (
          <path
            key={`${edge.from} ${edge.to}`}
            class={edge.dashed ? "edge dashed" : "edge"}
            d={edge.points.map((point, index) => `${index ? "L" : "M"}${point.x} ${point.y}`).join("")}
            marker-end="url(#arrow)"
          >
            <title>{oneLine(edge.label)}</title>
          </path>
        ))}
        {nodes.map((node) => {
          const suggested = node.status === "suggested";
          const open = () => !suggested && onOpen(node.id);
          return (
            <g
              key={node.id}
              class={`node ${node.status}`}
              transform={`translate(${node.x - WIDTH / 2} ${node.y - HEIGHT / 2})`}
              role={suggested ? "img" : "link"}
              tabindex={suggested ? undefined : 0}
              aria-label={suggested ? `${node.title}, suggested` : undefined}
              onClick={open}
              onKeyDown={(event) => event.key === "Enter" && open()}
            >
              <rect width={WIDTH} height={HEIGHT} rx="6" />
              <text x="10" y="18">
                {oneLine(node.title, 26)}
              </text>{" "}
              <text x="10" y="35" class="faint">
                {node.status.replace("_", " ")}
              </text>
            </g>
          );
        })}
      </svg>
    </div>
  );
}
