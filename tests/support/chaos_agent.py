"""An agent that stores results, and records what was acknowledged and how it ends. Standard library only.

    chaos_agent.py KIND DIRECTORY

    worker     stores until the round is over, and exits with 0
    parent     the same, and leaves detached processes behind
    stubborn   the same, and ignores SIGTERM
    short      stores once and exits with 0
    failing    stores once and exits with 7
    retrying   one attempt each: fails, then kills itself, then stores once and exits with 0

In DIRECTORY: ``<agent id>.acks`` has the id of each acknowledged result, ``<agent id>.tokens`` each token that it
received, ``<agent id>.<attempt>`` the outcome of an attempt (``began``, ``refused``, ``exits N``, ``kills itself``),
and ``over.<project>`` says that a round is over.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import NoReturn

_PAUSE_SECONDS = 0.03
FAILURE = 7
REFUSED = 9


class Agent:
    def __init__(self, kind: str, directory: Path) -> None:
        self.kind = kind
        self.id = os.environ["AGENT_ID"]
        self.attempt = int(os.environ["AGENT_ATTEMPT"])
        self.acks = directory / f"{self.id}.acks"
        self.tokens = directory / f"{self.id}.tokens"
        self.token = ""
        self.life = directory / f"{self.id}.{self.attempt}"
        self.over = directory / f"over.{os.environ['PROJECT_ID']}"

    def run(self) -> None:
        self.tell(self.life, "began")
        self.tell(self.tokens, os.environ["JWT_TOKEN"])
        if self.kind == "retrying" and self.attempt == 1:
            self.exit(1)
        if self.kind == "retrying" and self.attempt == 2:
            self.tell(self.life, "kills itself")
            os.kill(os.getpid(), signal.SIGKILL)
        if self.kind == "stubborn":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if self.kind == "parent":
            self.leave_processes()
        if self.kind in ("worker", "parent", "stubborn"):
            while not self.over.exists():
                self.store()
                time.sleep(_PAUSE_SECONDS)
        else:
            while not self.store() and not self.over.exists():
                time.sleep(_PAUSE_SECONDS)
        self.exit(FAILURE if self.kind == "failing" else 0)

    def store(self) -> bool:
        """Stores one result; True when it is acknowledged."""
        self.note_token()
        result = {"status": "success", "decisions": [f"by {os.getpid()}"]}
        body = {"agent_type": os.environ["AGENT_TYPE"], "issue_id": os.environ["ISSUE_ID"], "result": result}
        headers = {"Authorization": f"Bearer {os.environ['JWT_TOKEN']}", "Content-Type": "application/json"}
        url = f"{os.environ['SIDECAR_URL']}/results"
        try:
            with urllib.request.urlopen(
                urllib.request.Request(url, data=json.dumps(body).encode(), headers=headers), timeout=30
            ) as answer:
                self.tell(self.acks, json.load(answer)["id"])
                return True
        except urllib.error.HTTPError as refusal:
            if refusal.code in (401, 403, 429):
                self.tell(self.life, f"refused {refusal.code} {refusal.read().decode()[:300]}")
                self.exit(REFUSED)
        except (OSError, ValueError, http.client.HTTPException):
            # The sidecar is not running, or went away while it answered.
            pass
        return False

    def note_token(self) -> None:
        fresh = Path(os.environ["JWT_TOKEN_FILE"]).read_text().strip()
        if fresh != self.token:
            self.token = fresh
            self.tell(self.tokens, fresh)

    def leave_processes(self) -> None:
        subprocess.Popen(["sleep", "1000"])
        subprocess.Popen(["sleep", "1000"], start_new_session=True)
        # Its parent exits at once.
        subprocess.Popen(["sh", "-c", "setsid sleep 1000 & exit 0"]).wait()

    def exit(self, code: int) -> NoReturn:
        self.tell(self.life, f"exits {code}")
        sys.exit(code)

    def tell(self, path: Path, line: str) -> None:
        with path.open("a") as file:
            file.write(line + "\n")


if __name__ == "__main__":
    Agent(sys.argv[1], Path(sys.argv[2])).run()
