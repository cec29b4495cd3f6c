"""Image and mask change together, as the seed decides; what is misspelt or would spoil masks is refused."""

import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
import yaml

from pruning_lab.common.errors import LabError
from pruning_lab.data import Augmentation
from tests.paths import CONF

SIZE = (32, 48)
MASK = np.zeros(SIZE, np.uint8)
MASK[4:20, 6:30] = 100
MASK[10:15, 10:40] = 200
IMAGE = np.stack([MASK, 255 - MASK, MASK // 2], axis=-1)

MOVES = [
    {"name": "HorizontalFlip", "p": 1},
    {"name": "Affine", "rotate": [20, 40], "translate_percent": [0.1, 0.3], "p": 1},
    {"name": "RandomResizedCrop", "scale": [0.3, 0.8], "p": 1},
    {"name": "ElasticTransform", "alpha": 60, "sigma": 5, "p": 1},
    {"name": "GridDistortion", "p": 1},
    {"name": "Perspective", "p": 1},
    {"name": "OpticalDistortion", "p": 1},
    {
        "name": "OneOf",
        "p": 1,
        "transforms": [{"name": "VerticalFlip", "p": 1}, {"name": "Rotate", "interpolation": 0, "p": 1}],
    },
]
COIN = {"name": "HorizontalFlip", "p": 0.5}


@pytest.mark.parametrize("step", MOVES, ids=lambda step: step["name"])
@pytest.mark.parametrize("mask_fill", [0, 255])
def test_masks_are_moved_and_never_blended(step, mask_fill):
    augmentation = Augmentation([step]).for_data(SIZE, mask_fill)
    for seed in range(8):
        image, mask = augmentation.seeded(seed)(IMAGE, MASK)
        assert (image.shape, image.dtype, mask.shape, mask.dtype) == (IMAGE.shape, np.uint8, SIZE, np.uint8)
        assert set(np.unique(mask)) <= {0, 100, 200, mask_fill}


@pytest.mark.parametrize("step", MOVES, ids=lambda step: step["name"])
def test_image_and_mask_are_moved_alike(step):
    blends = step["name"] not in ("HorizontalFlip", "OneOf")
    image, mask = (
        Augmentation([step | {"interpolation": 0} if blends else step]).for_data(SIZE, 0).seeded(5)(IMAGE, MASK)
    )
    np.testing.assert_array_equal(image[..., 0], mask)


def test_new_pixels_at_borders_get_the_class_asked_for():
    shift = {"name": "Affine", "translate_px": {"x": 10, "y": 0}, "p": 1}
    _, mask = Augmentation([shift]).for_data(SIZE, 255).seeded(0)(IMAGE, MASK)
    assert (mask[:, :10] == 255).all()
    _, mask = Augmentation([shift | {"fill_mask": 7}]).for_data(SIZE, 255).seeded(0)(IMAGE, MASK)
    assert (mask[:, :10] == 7).all()


def test_the_mask_under_a_hidden_patch_stays():
    step = {"name": "CoarseDropout", "hole_height_range": [0.5, 0.6], "hole_width_range": [0.5, 0.6], "p": 1}
    image, mask = Augmentation([step]).for_data(SIZE, 255).seeded(0)(IMAGE, MASK)
    assert (image != IMAGE).any()
    np.testing.assert_array_equal(mask, MASK)


def test_the_seed_alone_decides():
    steps = [COIN, {"name": "Affine", "rotate": [-40, 40], "p": 0.8}, {"name": "GaussNoise", "p": 0.5}]
    augmentation = Augmentation(steps)
    first = [augmentation.seeded(seed)(IMAGE, MASK)[0].tobytes() for seed in range(6)]
    again = [Augmentation(steps).seeded(seed)(IMAGE, MASK)[0].tobytes() for seed in reversed(range(6))]
    assert first == again[::-1]
    assert len(set(first)) > 3


def test_steps_toss_their_coins_independently():
    augmentation = Augmentation([COIN, {"name": "VerticalFlip", "p": 0.5}])
    outcomes = {augmentation.seeded(seed)(IMAGE, MASK)[1].tobytes() for seed in range(40)}
    assert len(outcomes) == 4


def test_its_arguments_stay_as_they_are():
    image, mask = IMAGE.copy(), MASK.copy()
    image.setflags(write=False)
    mask.setflags(write=False)
    Augmentation([*MOVES, {"name": "CoarseDropout", "p": 1}]).for_data(SIZE, 0).seeded(1)(image, mask)
    np.testing.assert_array_equal(image, IMAGE)
    np.testing.assert_array_equal(mask, MASK)


def test_no_steps_change_nothing():
    image, mask = Augmentation().seeded(3)(IMAGE, MASK)
    assert image is IMAGE
    assert mask is MASK


def test_it_can_be_sent_to_another_process():
    augmentation = Augmentation(MOVES).for_data(SIZE, 9)
    copied = pickle.loads(pickle.dumps(augmentation))
    np.testing.assert_array_equal(copied.seeded(4)(IMAGE, MASK)[0], augmentation.seeded(4)(IMAGE, MASK)[0])


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([{"name": "HorizontalFlop"}], r"no transform HorizontalFlop; did you mean HorizontalFlip\?"),
        ([{"name": "Compose"}], "Compose"),
        ([{"p": 0.5}], "each step is a mapping with the name of a transform"),
        (["HorizontalFlip"], "each step is a mapping"),
        ([{"name": "HorizontalFlip", "prob": 1}], "HorizontalFlip has no argument prob; it has p"),
        ([{"name": "Affine", "rotat": 10}], "Affine has no argument rotat; it has scale, "),
        (
            [{"name": "OneOf", "transforms": [{"name": "Blur", "size": 3}]}],
            "Blur has no argument size; it has blur_limit",
        ),
        (
            [{"name": "GaussNoise", "std_range": [3, 4]}],
            "GaussNoise refuses its arguments: std_range; Value error",
        ),
        ([{"name": "Affine", "mask_interpolation": 1}], "Affine would blend classes by mask_interpolation=1"),
        (
            [{"name": "RandomResizedCrop", "area_for_downscale": "image_mask"}],
            "RandomResizedCrop would blend classes by area_for_downscale=image_mask",
        ),
    ],
)
def test_mistakes_are_named_when_it_is_made(steps, message):
    with pytest.raises(LabError, match=message) as refusal:
        Augmentation(steps)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "step", [{"name": "RandomScale", "scale_limit": [0.5, 0.5], "p": 1}, {"name": "Normalize", "p": 1}]
)
def test_a_step_that_resizes_or_normalizes_is_named_when_it_does(step):
    with pytest.raises(LabError, match=rf"\({step['name']}\) changed the image from uint8 \(32, 48, 3\) to"):
        Augmentation([step]).seeded(0)(IMAGE, MASK)


@pytest.mark.slow
def test_albumentations_is_imported_late_and_told_not_to_call_home():
    code = (
        "import sys, os; from pruning_lab.data import Augmentation; Augmentation();"
        "assert 'albumentations' not in sys.modules; Augmentation([{'name': 'HorizontalFlip'}]);"
        "print(os.environ['NO_ALBUMENTATIONS_UPDATE'])"
    )
    environment = {key: value for key, value in os.environ.items() if key != "NO_ALBUMENTATIONS_UPDATE"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.strip() == "1"


PRESETS = sorted(
    path for path in (CONF / "augmentation").glob("*.yaml") if "steps:" in path.read_text(encoding="utf-8")
)


class TestOtherImages:
    """What training sees of images that are not colors of 8 bits."""

    SIZE = (40, 56)

    def image(self, channels: int, kind: type) -> np.ndarray:
        noise = np.random.default_rng(1).random((*self.SIZE, channels), np.float32)
        return noise if kind is np.float32 else (noise * 255).astype(kind)

    @pytest.mark.parametrize("kind", [np.uint8, np.float32])
    @pytest.mark.parametrize("channels", [1, 2, 3, 4, 6, 12])
    @pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
    def test_every_preset_works_on_any_number_of_channels(self, path, channels, kind):
        change = Augmentation(yaml.safe_load(path.read_text())["steps"]).for_data(self.SIZE, 255)
        before, mask = self.image(channels, kind), np.resize(np.array([0, 1], np.uint8), self.SIZE)
        seen = set()
        for seed in range(12):
            after, moved = change.seeded(seed)(before, mask)
            assert (after.shape, after.dtype) == (before.shape, before.dtype)
            assert set(np.unique(moved)) <= {0, 1, 255}
            assert after.min() >= 0
            assert after.max() <= (255 if kind is np.uint8 else 1)
            again, _ = change.seeded(seed)(before, mask)
            np.testing.assert_array_equal(again, after)
            seen.add(after.tobytes())
        assert len(seen) == 1 if path.stem == "none" else len(seen) > 6

    def test_what_is_made_for_colors_is_left_out_and_said_once(self, caplog):
        steps = [{"name": "HueSaturationValue", "p": 1}, {"name": "VerticalFlip", "p": 1}]
        change = Augmentation([{"name": "OneOf", "p": 1, "transforms": steps}, steps[0]])
        before = self.image(7, np.float32)
        for seed in range(4):
            after, _ = change.seeded(seed)(before, np.zeros(self.SIZE, np.uint8))
            np.testing.assert_array_equal(after, before[::-1])
        assert caplog.text.count("augmentation leaves HueSaturationValue out for images of 7 channels") == 1

    def test_all_channels_move_alike(self):
        before = np.repeat(self.image(1, np.float32), 9, axis=2)
        after, _ = Augmentation(MOVES).for_data(self.SIZE, 0).seeded(3)(before, np.zeros(self.SIZE, np.uint8))
        np.testing.assert_allclose(after, np.repeat(after[..., :1], 9, axis=2), atol=1e-6)
