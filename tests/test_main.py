"""The command line as a user meets it."""

import importlib
import os
import resource
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from PIL import Image

from pruning_lab import __version__
from pruning_lab.__main__ import main
from pruning_lab.checkpoint import save
from pruning_lab.lab.output.history import History
from pruning_lab.models import UNet
from tests.paths import ROOT

NOT_MET = 3
"""Exit code of a run that ends above its budget, as one step does."""

SMALL = ["+experiment=unet_ipad", "+debug=limit", "threads=1"]


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pruning_lab", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)


def test_help_does_not_pay_for_torch_or_mlflow(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from pruning_lab.__main__ import main\n"
        "sys.argv[1:] = ['--help']\n"
        "try: main()\n"
        "finally: print(sorted({'torch', 'mlflow', 'albumentations'} & set(sys.modules)), file=sys.stderr)"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stderr.strip() == "[]"
    assert answer.stdout.startswith("pruning_lab is powered by Hydra")
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    answer = run(tmp_path, "--help")
    assert answer.returncode == 0
    assert "importance" in answer.stdout
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before < 5


def test_what_hydra_fails_to_compose_is_told_in_one_line(tmp_path: Path) -> None:
    answer = run(tmp_path, "-m", "hydra/sweeper=optuna", "+hydra.sweeper.params={seed: 'range(0,3)'}")
    assert answer.returncode == 1
    (line,) = answer.stderr.splitlines()
    assert line.startswith("error: Hydra can't put the settings together (hydra.sweeper.params: ")


def test_the_version_is_that_of_pruning_lab(tmp_path: Path) -> None:
    answer = run(tmp_path, "--version")
    assert (answer.returncode, answer.stdout) == (0, f"pruning_lab {__version__}\n")


@pytest.mark.parametrize("asked", ["--help", "--version"])
def test_a_reader_that_has_seen_enough_ends_the_command_quietly(asked: str, tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "pruning_lab", asked]
    answer = subprocess.run(command, cwd=tmp_path, stdout=writing, stderr=subprocess.PIPE, text=True, timeout=60)
    os.close(writing)
    assert (answer.returncode, answer.stderr) == (128 + signal.SIGPIPE, "")


def test_the_console_script_is_the_same_door() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]
    module, _, name = scripts["pruning-lab"].partition(":")
    assert getattr(importlib.import_module(module), name) is main


MISTAKES = [
    (["seeed=1"], "seeed"),
    (["importance.omga=1"], "omga"),
    (["+importance.omga=1"], "did you mean importance.omega"),
    (["importance=ipda"], "ipda"),
    (["data=folder"], "data.root"),
    (["task=report"], "task.runs"),
    (["data=folder", "data.root=nowhere"], "nowhere"),
    (["stop.flops=25"], "0.25"),
    (["device=warp"], "warp"),
    (["floors.by_module={inc.cnv1: 0.5}"], "did you mean inc.conv1"),
    (["model=custom", "model._target_=torch.nn.Identity"], "no weights"),
    (["output_root=/dev/null/x"], "/dev/null/x"),
    (["importance=function", "importance.path=no.such"], "no.such"),
    (["data=folder", "data.root=/tmp/größe"], "quote the value: \"data.root='/tmp/größe'\""),
    (["data=folder", "data.root=a=b"], "quote the value: \"data.root='a=b'\""),
    (["seed"], "write key=value"),
    (["base.optimizer.lr=-1"], "base.optimizer.lr=-1"),
]
"""(arguments, what the line must say); each is a process of its own, so most are left to the slow tests."""

QUICK = 4


@pytest.mark.parametrize(
    ("arguments", "told"),
    [pytest.param(*case, marks=[pytest.mark.slow] if place >= QUICK else []) for place, case in enumerate(MISTAKES)],
)
def test_a_mistake_is_one_line_without_a_traceback(arguments: list[str], told: str, tmp_path: Path) -> None:
    answer = run(tmp_path, *SMALL, "tracking=none", *arguments)
    assert answer.returncode == 1
    lines = answer.stderr.strip().splitlines()
    assert len(lines) == 1, answer.stderr
    assert lines[0].startswith("error: ")
    assert told in lines[0]


def test_a_model_is_inspected_without_data_or_training(tmp_path: Path) -> None:
    small = ["name=look", "model.width=4", "model.depth=2", "threads=1", "task.size=[16,24]", "task.classes=5"]
    answer = run(tmp_path, "task=inspect", "data=folder", "data.root=nowhere", *small)
    assert answer.returncode == 0, answer.stderr
    assert "UNet on 1 x 3 x 16 x 24" in answer.stdout
    (folder,) = (tmp_path / "outputs" / "runs" / "look").iterdir()
    assert {"config.yaml", "layers.csv", "consumers.csv", "inspect.json"} <= {path.name for path in folder.iterdir()}
    assert (folder / "figures" / "channel_graph.png").is_file()
    assert not (tmp_path / "outputs" / "mlflow.db").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["task.size=[0,3]"], "task.size=[0, 3]"),
        (["task.size=[16]"], "task.size=[16]"),
        (["model=timm", "model.name=no_such"], "model.name=no_such"),
        (["model=custom", "model._target_=torch.nn.Identity"], "Identity has no layer"),
    ],
)
def test_a_mistake_in_an_inspection_is_one_line(arguments: list[str], told: str, tmp_path: Path) -> None:
    answer = run(tmp_path, "task=inspect", *arguments)
    assert answer.returncode == 1
    assert answer.stderr.startswith("error: ")
    assert told in answer.stderr
    assert len(answer.stderr.strip().splitlines()) == 1


@pytest.mark.slow
def test_masks_are_predicted_and_a_bad_file_among_them_is_exit_code_1(tmp_path: Path) -> None:
    about = {"mean": [0.5] * 3, "std": [0.25] * 3, "class_names": ["ground", "square"]}
    save(tmp_path / "model", UNet(in_channels=3, classes=2, width=2, depth=1), about=about)
    (tmp_path / "in").mkdir()
    Image.new("RGB", (37, 100)).save(tmp_path / "in" / "a.png")
    predict = ["name=masks", "threads=1", "task=predict", "task.run=model", "task.images=in", "task.output=out"]
    answer = run(tmp_path, *predict)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.strip().splitlines()[-1] == "wrote masks and overlays of 1 image (0 ground, 1 square) to out"
    with Image.open(tmp_path / "out" / "masks" / "a.png") as mask:
        assert mask.size == (37, 100)
    (tmp_path / "in" / "b.png").write_bytes(b"no picture")
    answer = run(tmp_path, *predict)
    assert answer.returncode == 1
    assert answer.stderr.strip() == ("error: 1 of 2 files gave no mask, see the lines above: mend or leave them out")
    assert [line for line in answer.stdout.splitlines() if line.startswith("warning: can't read in/b.png")]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["task=predict", "task.images=x"], "task.run"),
        (["task=predict", "task.run=nowhere", "task.images=nothing"], "task.images=nothing finds no image"),
        (["task=evaluate", "task.run=nowhere"], "nowhere holds no model"),
    ],
)
def test_a_mistake_after_the_run_is_one_line(arguments: list[str], told: str, tmp_path: Path) -> None:
    answer = run(tmp_path, *arguments)
    assert answer.returncode == 1
    assert answer.stderr.startswith("error: ")
    assert told in answer.stderr
    assert len(answer.stderr.strip().splitlines()) == 1


@pytest.mark.slow
def test_a_run_leaves_what_its_folder_should_hold(tmp_path: Path) -> None:
    answer = run(tmp_path, *SMALL)
    assert answer.returncode == 0, answer.stderr
    (folder,) = (tmp_path / "outputs" / "runs" / "debug").iterdir()
    assert {"config.yaml", "history.csv", "card.json", "model", "figures"} <= {path.name for path in folder.iterdir()}
    assert History.read(folder / "history.csv").column("resources/flops_fraction")[-1] <= 0.25
    assert (tmp_path / "outputs" / "mlflow.db").is_file()
    assert "MACs" in answer.stdout


@pytest.mark.slow
def test_a_sweep_shares_the_base_survives_a_failed_job_and_fills_one_experiment(tmp_path: Path) -> None:
    from mlflow import MlflowClient

    answer = run(tmp_path, "-m", *SMALL, "importance=l1,random", "stop.flops=0.6,7")
    assert answer.returncode == 1
    failures = [line for line in answer.stderr.splitlines() if "failed:" in line]
    assert len(failures) == 2
    assert "stop.flops=7" in failures[0]
    assert "Traceback" not in answer.stderr
    client = MlflowClient(f"sqlite:///{tmp_path / 'outputs' / 'mlflow.db'}")
    (experiment,) = [e for e in client.search_experiments() if e.name == "pruning_lab"]
    everything = client.search_runs([experiment.experiment_id])
    (parent,) = [run for run in everything if "mlflow.parentRunId" not in run.data.tags]
    jobs = [run for run in everything if run is not parent]
    assert {run.data.tags["mlflow.parentRunId"] for run in jobs} == {parent.info.run_id}
    runs = [run for run in jobs if run.info.status == "FINISHED"]
    failed = [run for run in jobs if run.info.status == "FAILED"]
    assert (len(runs), len(failed)) == (2, 2)
    assert all("stop.flops=7" in run.data.tags["failure"] for run in failed)
    assert {run.info.run_name for run in runs} == {"l1 flops 0.6", "random flops 0.6"}
    assert (parent.data.metrics["jobs/finished"], parent.data.metrics["jobs/failed"]) == (2, 2)
    assert "l1 flops 0.6" in parent.data.tags["mlflow.note.content"]
    assert {run.data.params["importance"] for run in runs} == {"l1", "random"}
    assert len({run.data.tags["base_hash"] for run in runs}) == 1
    assert len([path for path in (tmp_path / "outputs" / "bases").iterdir() if path.is_dir()]) == 1


@pytest.mark.slow
def test_entries_can_be_given_to_every_mapping_on_the_command_line(tmp_path: Path) -> None:
    entries = ["floors.by_module={inc.conv1: 1.0, up*: {flops: 0.1}}", "max_steps=1", "tracking=none"]
    answer = run(tmp_path, *SMALL, *entries)
    assert answer.returncode == NOT_MET, answer.stderr


@pytest.mark.slow
def test_users_add_their_own_groups_and_classes(tmp_path: Path) -> None:
    conf = tmp_path / "mine" / "importance"
    conf.mkdir(parents=True)
    (conf / "by_index.yaml").write_text("_target_: by_index.ByIndex\nfactor: 2.0\n")
    (tmp_path / "by_index.py").write_text(
        "import torch\n"
        "class ByIndex:\n"
        "    def __init__(self, factor):\n"
        "        self.factor = factor\n"
        "    def __call__(self, model, graph, batches):\n"
        "        return self.factor * torch.arange(len(graph), dtype=torch.float32)\n"
    )
    answer = run(tmp_path, "--config-dir", "mine", *SMALL, "importance=by_index", "tracking=none", "max_steps=1")
    assert answer.returncode == NOT_MET, answer.stderr


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR2, signal.SIGINT])
def test_a_run_that_is_asked_to_stop_says_how_to_go_on_and_goes_on(number: int, tmp_path: Path) -> None:
    command = [sys.executable, "-u", "-m", "pruning_lab", *SMALL, "tracking=none", "device=cpu", "deterministic=true"]
    whole = subprocess.run([*command, "output_root=whole"], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert whole.returncode == 0
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([*command, "output_root=cut"], cwd=tmp_path, **pipes) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("step   2"):
                process.send_signal(number)
                break
        _, told = process.communicate(timeout=100)
    assert process.returncode == 130
    (line,) = told.strip().splitlines()
    assert line.startswith("interrupted; go on with it: python -m pruning_lab task=resume task.run=")
    answer = run(tmp_path, *line.partition("pruning_lab ")[2].split())
    assert answer.returncode == 0, answer.stderr
    histories = [History.read(next(tmp_path.glob(f"{root}/runs/*/*/history.csv"))) for root in ("whole", "cut")]
    assert same(*histories)


def same(one: History, other: History) -> bool:
    """Whether two histories agree in all but what was read off a clock."""
    clocks = ("seconds", "latency")
    names = [name for name in one.names if not any(word in name for word in clocks)]
    return len(one) == len(other) and all(
        a.get(name) == b.get(name) for a, b in zip(one, other, strict=True) for name in names
    )
