/**
 * Returns a function that runs `act`, one at a time: what is asked for meanwhile is done once more afterwards, as long as
 * `act` says that it may go on.
 */
export function onceMore(act: () => Promise<boolean>): () => Promise<void> {
  let runs = false;
  let again = false;
  return async () => {
    again = true;
    if (runs) return;
    runs = true;
    while (again) {
      again = false;
      if (!(await act())) break;
    }
    runs = false;
  };
}
