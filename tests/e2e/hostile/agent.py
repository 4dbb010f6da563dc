"""An agent that attacks whatever it can reach from its own environment and process.

    agent.py PHASE

After each attempt it rewrites `hostile-report-PHASE.json` in its working directory: ``{attempt: "got: what" | "refused:
how"}``. At the end it writes `hostile-times-PHASE.json` with the start and end of each attempt (seconds of the
monotonic clock). A third verdict, ``left: word``, needs a check from outside: the input was accepted, and it did harm
if ``word`` shows up where it should not.

Locations are not secret from it: ``HOSTILE_TARGETS`` (JSON) names the paths and pids that a patient attacker would
find. It changes nothing permanently: files are opened for writing but not written, a signal is undone at once, mounts
are made in a namespace that ends with the attempt, and only processes of the test are touched, after a check of their
command lines.
"""

from __future__ import annotations

import http.client
import json
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from attempts import api, architect, files, floods, fresh, namespaces, processes, shown, sockets
from attempts.core import ATTEMPT_SECONDS, ATTEMPTS, Attempt, Refused, described

# Importing a module registers its attempts.
MODULES = (files, processes, namespaces, sockets, api, shown, architect, floods, fresh)


def verdict(act: Attempt) -> str:
    def overdue(*_: object) -> None:
        raise Refused(f"it did not end in {ATTEMPT_SECONDS} s")

    signal.signal(signal.SIGALRM, overdue)
    signal.alarm(ATTEMPT_SECONDS)
    try:
        said = act()
        return said.replace("left:", "left: ", 1) if said.startswith("left:") else f"got: {said}"
    except Refused as problem:
        return f"refused: {problem}"
    except (OSError, http.client.HTTPException, subprocess.SubprocessError) as problem:
        return f"refused: {described(problem)}"
    except Exception:
        return f"broken: {traceback.format_exc()}"
    finally:
        signal.alarm(0)


def kept(path: Path, value: Any) -> None:
    """Replaces the file atomically."""
    fresh = path.with_name(f".{path.name}")
    fresh.write_text(json.dumps(value, indent=1))
    fresh.replace(path)


def main() -> None:
    (phase,) = sys.argv[1:]
    report: dict[str, str] = {}
    times: dict[str, Any] = {}
    for name, act in ATTEMPTS[phase].items():
        began = time.monotonic()
        report[name] = verdict(act)
        times[name] = [began, time.monotonic()]
        kept(Path(f"hostile-report-{phase}.json"), report)
    kept(Path(f"hostile-times-{phase}.json"), times)


if __name__ == "__main__":
    main()
