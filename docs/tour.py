"""Writes docs/tour.md: runs each of its commands and puts what they say, and their pictures, into the page.

`python -m docs.tour` needs a minute or two, the extra `export`, and no data: it draws the images that stand for yours.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from pruning_lab.data import Eyes

DOCS = Path(__file__).parent
PAGE, FIGURES = DOCS / "tour.md", DOCS / "figures"
DRAWN, NEW = 60, 3
"""Images with masks, and further ones without."""

ENDS = 14
"""Lines of a command's output that the page shows, its last ones."""


@dataclass(frozen=True)
class Stop:
    """A part of the tour: its words, its command, and a picture that the command leaves: (file, name in the docs)."""

    title: str
    words: str
    command: str
    picture: tuple[str, str] | None = None


OPENING = """# A tour

From a folder of images and masks to a small model that predicts, each step with its command and what it says.
Everything below was made by `python -m docs.tour`, on two CPU cores and on images that it draws; put your
own in their place.

    photos/images/*.png   the images
    photos/masks/*.png    a mask for each, of the same name: the index of the class of each pixel
    photos/new/*.png      images without masks, for the end

In a fresh clone, once:

    python3 -m venv .venv && . .venv/bin/activate && pip install -e ".[export]"

Gone through from a fresh clone on two CPU cores that other programs kept busy (a load of 10 to 13), with an
installation of PyTorch for GPUs, the commands took:

| command | time | of which computing |
|---|--:|--:|
| `git clone` | 1 s | |
| `python3 -m venv .venv` | 52 s | |
| `pip install -e .` | 20 min | |
| `python -m pruning_lab +experiment=unet_ipad +debug=limit`, the first pruned model | 4.5 min | 40 s |
| prune, below | 16 min | 94 s |
| `pip install 'pruning_lab[export]'` | 2.1 min | 15 s |
| export, below | 4.1 min | 49 s |
| predict, below | 1.2 min | 11 s |
"""

STOPS = (
    Stop(
        "Prune",
        "A small U-Net is trained, and pruned to half of its FLOPs. `data.split` holds images back for\n"
        "validation and test. More epochs and a wider network make it good; these make it quick. `hydra.run.dir`\n"
        "names the run's folder; without it the folder is named after the time.",
        "python -m pruning_lab name=tour data=folder data.root=photos data.size=[64,96]"
        " data.split='{val: 0.15, test: 0.15}'"
        " data.class_names=[background,sclera,iris,pupil] model.width=12 model.depth=2 base.epochs=40 stop.flops=0.5"
        " importance=steady_taylor recovery.epochs=2 recovery.final_epochs=20 loader.batch_size=8"
        " hydra.run.dir=outputs/tour",
        ("outputs/tour/figures/predictions.png", "tour_predictions.png"),
    ),
    Stop(
        "Look",
        "`outputs/tour/report.html` shows all of it. `task=show` serves the same page with a place to drop\n"
        "images on, see [In the browser](after-the-run.md#in-the-browser). The scores on the test\n"
        "images, beside the base's:",
        "python -m pruning_lab name=scores task=evaluate task.run=outputs/tour hydra.run.dir=outputs/scores",
    ),
    Stop(
        "Export",
        "A file that runs without PyTorch; it is checked against the model on real images, and timed beside\n"
        "the base's. `notebooks/to_onnx.ipynb` runs such a file.",
        "python -m pruning_lab name=export task=export task.run=outputs/tour task.format=[onnx] task.head=mask",
    ),
    Stop(
        "Predict",
        "Masks for images of any size, and each image with its mask laid over it.",
        "python -m pruning_lab name=masks task=predict task.run=outputs/tour task.images=photos/new task.output=masks",
        ("masks/overlays/0.png", "tour_overlay.png"),
    ),
)


def draw(folder: Path) -> None:
    """The images that stand for a reader's own, as files."""
    eyes = Eyes(size=(96, 144), train=DRAWN, val=1, test=NEW)
    for kind in ("images", "masks", "new"):
        (folder / kind).mkdir(parents=True)
    for number in range(DRAWN):
        for kind, pixels in zip(("images", "masks"), eyes.train[number], strict=True):
            Image.fromarray(pixels).save(folder / kind / f"{number:03d}.png")
    for number in range(NEW):
        Image.fromarray(eyes.test[number][0]).save(folder / "new" / f"{number}.png")


def said(command: str, folder: Path) -> str:
    """The end of what a command says; an error where it fails."""
    words = [sys.executable if word == "python" else word for word in shlex.split(command)]
    paths = os.pathsep.join(filter(None, (str(DOCS.parent), os.environ.get("PYTHONPATH"))))
    environment = os.environ | {"PYTHONPATH": paths, "COLUMNS": "100", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{command}\n{done.stdout}{done.stderr}")
    lines = [line.rstrip() for line in re.sub(r"\x1b\[[0-9;]*m", "", done.stdout).splitlines() if line.strip()]
    return "\n".join(lines[-ENDS:]).replace(f"{folder}/", "")


def part(stop: Stop, output: str) -> str:
    """A stop as Markdown."""
    shown = f"\n![{stop.title}](figures/{stop.picture[1]})\n" if stop.picture else ""
    return f"## {stop.title}\n\n{stop.words}\n\n    {stop.command}\n\n```text\n{output}\n```\n{shown}"


def main() -> None:
    """Go through all stops in a folder of their own, and write the page and its pictures."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        draw(folder / "photos")
        parts = []
        for stop in STOPS:
            print(stop.command, flush=True)
            parts.append(part(stop, said(stop.command, folder)))
            if stop.picture:
                shutil.copyfile(folder / stop.picture[0], FIGURES / stop.picture[1])
    PAGE.write_text("\n".join([OPENING, *parts]), encoding="utf-8")


if __name__ == "__main__":
    main()
