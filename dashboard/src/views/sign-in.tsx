import { useState } from "preact/hooks";
import { endedBecause, signIn } from "../core/session.ts";
import { visible } from "../lib/visible.ts";

/** Takes the code out of what `cco dashboard --print` prints; a code alone is one too. */
export function codeIn(text: string): string {
  return /(?:#login=|^)([\w-]{16,})$/.exec(text.trim())?.[1] ?? "";
}

export function SignIn() {
  const [typed, setTyped] = useState("");
  const [problem, setProblem] = useState("");
  const submit = async (event: Event) => {
    event.preventDefault();
    const code = codeIn(typed);
    setProblem(
      code ? await signIn(code) : "this is not a login link; paste the one that 'cco dashboard --print' prints",
    );
  };
  const reason = problem || endedBecause.value;
  return (
    <main class="sign-in">
      <h1>Orchestration sidecar</h1>
      {reason && (
        <p class="problem" role="alert">
          {visible(reason.slice(0, 1).toUpperCase() + reason.slice(1))}.
        </p>
      )}
      <p>On the machine of the sidecar, run</p>
      <pre class="text">cco dashboard</pre>
      <p>
        It opens this page, signed in. Without a browser there, <code>cco dashboard --print</code> prints a link that
        works once, within two minutes. Open it, or paste it here:
      </p>
      <form onSubmit={submit}>
        <label for="code">Login link</label>
        <input
          id="code"
          autoComplete="off"
          spellcheck={false}
          value={typed}
          onInput={(event) => setTyped(event.currentTarget.value)}
        />
        <button type="submit" class="primary">
          Sign in
        </button>
      </form>
    </main>
  );
}
