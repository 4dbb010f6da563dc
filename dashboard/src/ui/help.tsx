import { signal } from "@preact/signals";
import { Dialog } from "./dialog.tsx";

export const helpOpen = signal(false);

export function KeyboardHelp({ views }: { views: readonly { id: string; name: string }[] }) {
  const keys: [string, string][] = [
    ["Ctrl+K", "commands: find an agent, issue, session or view"],
    ["/", "go to the filter of the view"],
    ["↑ ↓, j k", "move in a list"],
    ["Page Up, Page Down, Home, End", "move further"],
    ["Enter", "open"],
    ["Escape", "close what is open"],
    ["?", "this help"],
    ...views.map((each, index): [string, string] => [`g ${index + 1}`, each.name]),
  ];
  return (
    <Dialog
      label="Keyboard"
      onClose={() => {
        helpOpen.value = false;
      }}
    >
      <h2>Keyboard</h2>
      <table class="keys">
        <tbody>
          {keys.map(([key, what]) => (
            <tr key={key}>
              <th scope="row">
                <kbd>{key}</kbd>
              </th>
              <td>{what}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </Dialog>
  );
}
