"""A U-Net as a file of each format: opened again, equal, of any size, with what is needed to run it beside it."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import pruning_lab as pl
from pruning_lab.common.errors import LabError
from pruning_lab.lab.export import Exported, Exporter, ExportOptions
from pruning_lab.lab.export.side_file import sha256
from pruning_lab.lab.input_facts import InputFacts
from pruning_lab.lab.prediction import Predictor
from pruning_lab.models import UNet
from tests.models.base import lively
from tests.networks.tiny import TinyNet

pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
onnxruntime = pytest.importorskip("onnxruntime")

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)
FORMATS = ("onnx", "pt2", "torchscript")
SIZE = (24, 16)


def image_of(size: tuple[int, ...] = SIZE, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    place = tmp_path_factory.mktemp("saved")
    about = {"mean": MEAN, "std": STD, "class_names": ["a", "b"], "input": [1, 3, *SIZE]}
    return pl.save(place, lively(UNet(3, 2, width=4, depth=1)), about=about)


@pytest.fixture(scope="module")
def made(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Exported]:
    images = [image_of(seed=seed) for seed in range(3)]
    place = tmp_path_factory.mktemp("made")
    options = {"formats": FORMATS, "pixels": "stored", "head": "probabilities"}
    return {each.format: each for each in pl.export(folder, place, images=images, **options)}  # type: ignore[arg-type]


@pytest.mark.parametrize("form", FORMATS)
def test_a_file_gives_what_the_network_gives_at_any_size(made: dict[str, Exported], folder: Path, form: str) -> None:
    each = made[form]
    assert each.agreement.images == 3
    assert each.agreement.max_error is not None
    assert each.agreement.max_error < 1e-5
    assert each.agreement.disagreement < 1e-3
    assert each.sizes.fixed is None
    assert each.sizes.multiple == 1
    assert each.sizes.any_batch
    run, image = each.open(), image_of((37, 100), 5)
    found = run(torch.from_numpy(image).movedim(-1, 0)[None])
    expected = Predictor.from_folder(folder)(image, probabilities=True).probabilities
    np.testing.assert_allclose(found[0][0].numpy(), expected, atol=1e-5)


def test_an_onnx_file_names_what_it_takes_and_gives_and_tells_nothing_of_the_machine(
    made: dict[str, Exported],
) -> None:
    path = made["onnx"].path
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (given,), (gives,) = session.get_inputs(), session.get_outputs()
    assert (given.name, given.type, given.shape) == ("image", "tensor(uint8)", ["batch", 3, "height", "width"])
    assert (gives.name, gives.shape) == ("probabilities", ["batch", 2, "height", "width"])
    assert b"unet.py" not in path.read_bytes()


@pytest.mark.parametrize("form", FORMATS)
def test_a_side_file_tells_what_is_needed_to_run_it(made: dict[str, Exported], form: str) -> None:
    path = made[form].path
    told = json.loads(path.with_name(path.name + ".json").read_text())
    assert told["sha256"] == sha256(path)
    assert told["input"]["name"] == "image"
    assert told["input"]["dtype"] == "uint8"
    assert told["input"]["pixels"] == "stored"
    assert (told["input"]["multiple"], told["input"]["size"]) == (1, None)
    assert told["outputs"] == ["probabilities"]
    assert told["classes"] == ["a", "b"]
    assert told["normalization"]["in_the_file"]
    assert (told["normalization"]["mean"], told["normalization"]["std"]) == (list(MEAN), list(STD))
    assert told["training"]["size"] == list(SIZE)
    assert told["checked_against_network"]["on"] == "images"


class NeedsSixteen(nn.Module):
    """Takes sides that are multiples of 16, as many encoders do."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        if image.shape[-1] % 16 or image.shape[-2] % 16:
            raise ValueError("sides must be multiples of 16")
        return self.conv(image)


class OneSize(nn.Module):
    """A weight as large as the image, as position embeddings are."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.place = nn.Conv2d(3, 2, 3, padding=1), nn.Parameter(torch.randn(1, 2, 32, 48))

    def forward(self, image: Tensor) -> Tensor:
        return self.conv(image) + self.place


def exporter_of(model: nn.Module, size: tuple[int, ...] = (32, 48), **options: object) -> Exporter:
    return Exporter(model, InputFacts(MEAN, STD), ExportOptions(formats=FORMATS, **options), size)  # type: ignore[arg-type]


@pytest.mark.parametrize("form", ["pt2", "torchscript"])
@pytest.mark.parametrize(
    ("model", "words"), [(NeedsSixteen, "multiples of 16"), (OneSize, "32 x 48 only")], ids=["sixteen", "one"]
)
def test_the_sizes_that_a_network_takes_are_found_out(
    tmp_path: Path, model: type[nn.Module], words: str, form: str
) -> None:
    each = exporter_of(model()).write(tmp_path, form, "float32")  # type: ignore[arg-type]
    # A recorded pass asks nothing of sizes, and the network is what counts.
    assert words in each.sizes.in_words()


@pytest.mark.slow
def test_free_sizes_and_numbers_can_be_left_out(tmp_path: Path) -> None:
    model = TinyNet(classes=3)
    each = exporter_of(model, dynamic_size=False, dynamic_batch=False).write(tmp_path, "pt2", "float32")
    assert each.sizes.in_words() == "32 x 48 only, one image at a time"


@pytest.mark.slow
def test_a_volume_is_exported_as_well(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Conv3d(3, 4, 3, padding=1), nn.BatchNorm3d(4), nn.ReLU(), nn.Conv3d(4, 2, 1))
    each = exporter_of(model, (8, 12, 10), pixels="fractions").write(tmp_path, "pt2", "float32")
    assert each.sizes.in_words() == "any size"
    told = json.loads((tmp_path / "model.pt2.json").read_text())
    assert told["input"]["layout"] == "[N, 3, depth, height, width]"


def test_float16_is_near_and_reads_and_gives_float32(tmp_path: Path) -> None:
    torch.manual_seed(0)
    each = exporter_of(lively(UNet(3, 2, width=4, depth=1))).write(tmp_path, "torchscript", "float16")
    assert each.path.name == "model_float16.pt"
    assert each.agreement.max_error is not None
    assert 1e-5 < each.agreement.max_error < 1e-2
    assert each.open()(torch.randn(1, 3, 8, 8))[0].dtype == torch.float32


class Breaks(nn.Module):
    """No pass can be recorded: it looks at numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 1)

    def forward(self, image: Tensor) -> Tensor:
        return self.conv(image) if float(image.sum()) > 0 else self.conv(-image)


def test_a_format_that_can_not_be_had_is_one_line_and_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(LabError, match=r"torch\.export can't take the network") as caught:
        exporter_of(Breaks()).write(tmp_path, "pt2", "float32")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("given", "options", "told"),
    [
        (TinyNet(), {"mean": MEAN, "std": STD}, r"size=\(height, width\)"),
        (TinyNet(), {"size": SIZE}, "needs mean and std"),
        (TinyNet(), {"size": SIZE, "mean": MEAN, "std": STD, "precisions": ["int8"]}, "needs training images"),
        (OneSize(), {"size": (8, 8), "mean": MEAN, "std": STD}, "takes no image of 8 x 8"),
    ],
)
def test_a_mistake_is_one_line(tmp_path: Path, given: nn.Module, options: dict, told: str) -> None:
    with pytest.raises(LabError, match=told) as caught:
        pl.export(given, tmp_path, **options)
    assert "\n" not in str(caught.value)


def test_a_folder_knows_its_mean_and_a_strangers_class_is_not_built(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(LabError, match="leave them out"):
        pl.export(folder, tmp_path, mean=MEAN, std=STD)
    own = pl.save(tmp_path / "own", TinyNet(classes=2), about={"mean": MEAN, "std": STD})
    with pytest.raises(LabError, match=r"trust=\('tests',\)"):
        pl.export(own, tmp_path / "made", size=SIZE, formats=["torchscript"])
    assert pl.export(own, tmp_path / "made", size=SIZE, formats=["torchscript"], trust=("tests",))


def test_a_missing_library_is_told_with_the_mend(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(LabError, match=r"format=onnx needs onnxscript .*pip install 'pruning_lab\[export\]'"):
        pl.export(folder, tmp_path)
