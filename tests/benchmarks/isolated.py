"""Runs one measurement in a process of its own, with a time limit: what hangs or crashes takes nothing else along."""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
ANSWER = "answer: "


def run(function: str, name: str, limit_s: float) -> dict[str, Any]:
    """What `module:function` of this folder says of a case.

    Returns:
        its answer; `{"error": ...}` where it raises, dies, or is not done after `limit_s` seconds.
    """
    command = [sys.executable, "-m", "tests.benchmarks.isolated", function, name]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=limit_s, check=False)
    except subprocess.TimeoutExpired:
        return {"error": f"not done after {limit_s:.0f} s"}
    for line in reversed(done.stdout.splitlines()):
        if line.startswith(ANSWER):
            answer: dict[str, Any] = json.loads(line.removeprefix(ANSWER))
            return answer
    return {"error": f"the process died with code {done.returncode}"}


def main() -> None:
    """Answer on the last line of the output."""
    parser = argparse.ArgumentParser()
    parser.add_argument("function")
    parser.add_argument("name")
    options = parser.parse_args()
    module, _, function = options.function.partition(":")
    try:
        import torch

        # One thread: what is measured is work, and not how well it is spread.
        torch.set_num_threads(1)
        answer = getattr(importlib.import_module(f"tests.benchmarks.{module}"), function)(options.name)
    except Exception as error:  # the peer may raise anything, and that is the result
        first = next((line for line in str(error).splitlines() if line.strip()), "")
        answer = {"error": f"{type(error).__name__}: {first}"[:120].rstrip(": ")}
    print(f"\n{ANSWER}{json.dumps(answer)}", flush=True)


if __name__ == "__main__":
    main()
