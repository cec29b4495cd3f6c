"""Runs one measurement in a process of its own, with a time limit: what hangs or crashes takes nothing else along.

The processes are forked from one that has imported what takes long and has measured nothing.
"""

from __future__ import annotations

import importlib
import math
import multiprocessing
import resource
from multiprocessing.connection import Connection
from typing import Any

_PATIENCE = 20
"""Seconds on the clock for a second of processor time: a machine with other work must end no measurement."""

_IMPORTED = ["torch", "torchvision", "segmentation_models_pytorch", "timm", "monai.networks.nets", "torch_pruning"]
_IMPORTED += ["tests.benchmarks.lab_side", "tests.benchmarks.peer_side"]


def run(function: str, name: str, limit_s: float) -> dict[str, Any]:
    """What `module:function` of this folder says of a case.

    Returns:
        its answer; `{"error": ...}` where it raises, dies, or is not done after `limit_s` seconds of processor time.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_IMPORTED)
    receiving, sending = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(function, name, limit_s, sending), daemon=True)
    process.start()
    sending.close()
    try:
        done = receiving.poll(_PATIENCE * limit_s)
        answer: dict[str, Any] | None = receiving.recv() if done else None
    except EOFError:  # the process ended without an answer
        answer = None
    process.kill()
    process.join()
    if answer is not None:
        return answer
    if process.exitcode in (-9, -24):  # killed here, or by the system at the end of its processor time
        return {"error": f"not done after {limit_s:.0f} s"}
    return {"error": f"the process died with code {process.exitcode}"}


def _answer(function: str, name: str, limit_s: float, sending: Connection) -> None:
    """Measure, and send what came of it."""
    whole = max(1, math.ceil(limit_s))
    resource.setrlimit(resource.RLIMIT_CPU, (whole, whole + 1))
    module, _, function = function.partition(":")
    try:
        import torch

        # One thread: what is measured is work, and not how well it is spread.
        torch.set_num_threads(1)
        answer = getattr(importlib.import_module(f"tests.benchmarks.{module}"), function)(name)
    except Exception as error:  # the peer may raise anything, and that is the result
        first = next((line for line in str(error).splitlines() if line.strip()), "")
        answer = {"error": f"{type(error).__name__}: {first}"[:120].rstrip(": ")}
    sending.send(answer)
