import { render } from "preact";
import { App } from "./app.tsx";
import { reread } from "./core/route.ts";
import * as session from "./core/session.ts";
import * as health from "./state/health.ts";
import * as project from "./state/project.ts";

const place = document.getElementById("app");
if (place) {
  await session.start();
  reread();
  project.start();
  health.start();
  render(<App />, place);
}
