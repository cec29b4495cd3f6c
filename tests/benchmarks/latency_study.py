"""At equal measured latency: pruning by milliseconds, by FLOPs, and by Torch-Pruning's scores with multiples of 8.

    python -m tests.benchmarks.latency_study --seeds 1 2 3 4 5 --budgets 0.5 0.25 --folder outputs/latency_study

Each run ends when its network, timed in turns with the base on one thread in onnxruntime, is within the budget; base,
recovery and amounts are the same. Runs that are done are not run again, so the study goes on where it was cut short,
and the table is of what there is. What follows `--` goes to every run: `-- base.epochs=5 data.train=60`.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
from pathlib import Path

from pruning_lab.lab.output.history import History

COMMON = [
    "+experiment=unet_ipad",
    "stop=latency",
    "target=onnxruntime",
    "selection.amount.resource=latency",
    "threads=1",
    "channels_last=false",
]
METHODS = {
    "by milliseconds": ["importance=group_magnitude", "selection.prefer.flops=0", "selection.prefer.latency=1"],
    "by FLOPs": ["importance=group_magnitude", "selection.per_saving=true"],
    "Torch-Pruning, multiples of 8": ["importance=peer_magnitude", "selection.round_to=8"],
}


def run(folder: Path, name: str, seed: int, budget: float, more: list[str]) -> Path:
    """One run's folder; it is run if it is not done."""
    place = folder / name.replace(" ", "_").replace(",", "") / f"latency_{budget:g}" / f"seed_{seed}"
    if not (place / "card.json").is_file():
        settings = [*COMMON, *METHODS[name], f"stop.latency={budget}", f"seed={seed}", *more]
        roots = [f"output_root={folder.absolute()}", f"hydra.run.dir={place.absolute()}", "tracking=none"]
        subprocess.run([sys.executable, "-m", "pruning_lab", *settings, *roots], check=False)
    return place


def row(places: list[Path]) -> str:
    """Test IoU and what was reached, over seeds."""
    done = [History.read(place / "history.csv")[-1] for place in places if (place / "card.json").is_file()]
    if not done:
        return "| | | 0 |"
    scores = [100 * last["test/iou"] for last in done]
    deviation = statistics.stdev(scores) if len(scores) > 1 else 0.0
    left = [100 * last["resources/latency_fraction"] for last in done]
    return f"| {statistics.mean(scores):.2f} ± {deviation:.2f} | {statistics.mean(left):.1f} % | {len(done)} |"


def main(arguments: list[str] | None = None) -> None:
    """Run what is missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3, 4, 5])
    parser.add_argument("--budgets", nargs="+", type=float, default=[0.5, 0.25])
    parser.add_argument("--folder", type=Path, default=Path("outputs/latency_study"))
    parser.add_argument("more", nargs="*")
    given = parser.parse_args(arguments)
    found: dict[tuple[str, float], list[Path]] = {}
    for seed in given.seeds:  # all methods of a seed before the next, so that a part of the study is a fair one
        for budget in given.budgets:
            for name in METHODS:
                place = run(given.folder, name, seed, budget, given.more)
                found.setdefault((name, budget), []).append(place)
    print("| groups leave | latency budget | test IoU, % | latency left | seeds |", "|---|---|---|---|---|", sep="\n")
    for (name, budget), places in found.items():
        print(f"| {name} | {100 * budget:g} % {row(places)}")


if __name__ == "__main__":
    main()
