#!/usr/bin/env python3
"""Stands in for `claude --print --output-format stream-json`: accepts its options, reads the prompt from stdin, and
prints the same messages (init, assistant, result). Its arguments are recorded in ``$CLAUDE_CALLS``.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path


def main() -> None:
    if "--version" in sys.argv:
        print("2.0.0 (Claude Code stand-in)")
        return
    parser = argparse.ArgumentParser()
    parser.add_argument("--print", action="store_true", required=True)
    parser.add_argument("--output-format", choices=["text", "json", "stream-json"], required=True)
    parser.add_argument("--verbose", action="store_true", required=True)
    parser.add_argument("--permission-mode")
    parser.add_argument("--append-system-prompt")
    parser.add_argument("--model")
    parser.add_argument("--mcp-config")
    session = parser.add_mutually_exclusive_group(required=True)
    session.add_argument("--session-id")
    session.add_argument("--resume")
    options = vars(parser.parse_args())
    prompt = sys.stdin.read()
    with Path(os.environ["CLAUDE_CALLS"]).open("a") as calls:
        calls.write(json.dumps(options | {"prompt": prompt, "cwd": str(Path.cwd())}) + "\n")
    name = options["session_id"] or options["resume"]
    say({"type": "system", "subtype": "init", "session_id": name, "model": options["model"], "tools": ["Bash"]})
    text = f"Done: {prompt.splitlines()[0]}"
    say(
        {
            "type": "assistant",
            "session_id": name,
            "message": {"role": "assistant", "content": [{"type": "text", "text": text}], "usage": {"input_tokens": 1}},
        }
    )
    failing = "fail" in prompt.splitlines()[0]
    say(
        {
            "type": "result",
            "subtype": "error_during_execution" if failing else "success",
            "is_error": failing,
            "duration_ms": 4200,
            "duration_api_ms": 3100,
            "num_turns": 3,
            "result": text,
            "session_id": name,
            "total_cost_usd": 0.0421,
            "usage": {
                "input_tokens": 120,
                "cache_creation_input_tokens": 30,
                "cache_read_input_tokens": 4000,
                "output_tokens": 250,
            },
        }
    )


def say(line: dict[str, object]) -> None:
    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
