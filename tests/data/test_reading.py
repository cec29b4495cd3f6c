"""What may be said about how images are read, and what can't be read as it is: refused in one line with the mend."""

import builtins
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from PIL import Image as Pillow

from pruning_lab.common.errors import LabError
from pruning_lab.data import Augmentation, Folder, Loaders
from pruning_lab.data.formats import volumes
from pruning_lab.data.formats.arrays import Arrays
from pruning_lab.data.formats.orientation import turned
from pruning_lab.data.reading import Reading, read_image
from pruning_lab.data.scaling import Scale, scale_rule
from tests.data import shapes
from tests.data.fakes import write_picture
from tests.data.shapes import SIZE, Write, nifti, noted, pillow, samples, tiff, values

CLASSES = np.resize(np.array([0, 1], np.uint8), SIZE)


def folder(root: Path, file: str, *writes: Write, mask: np.ndarray = CLASSES) -> Path:
    """A data set whose splits all hold the files that `writes` write: a0.ext, a1.ext, ..."""
    for split in ("train", "val", "test"):
        (root / split / "images").mkdir(parents=True, exist_ok=True)
        for number, write in enumerate(writes):
            write(root / split / "images" / f"{number}{file}")
            write_picture(root / split / "masks" / f"{number}{Path(file).stem}.png", mask)
    return root


def refuse(message: str, root: Path, **options) -> None:
    with pytest.raises(LabError, match=message) as refusal:
        Folder(str(root), SIZE, **options)
    assert "\n" not in str(refusal.value)


class TestOptions:
    @pytest.mark.parametrize("channels", [0, -1, [], [1, -1], [0.5], "3", True])
    def test_channels(self, channels):
        with pytest.raises(LabError, match=r"data\.channels is"):
            Reading(channels=channels)

    @pytest.mark.parametrize(
        "scale",
        [
            "typ", [1], [1, 2, 3], [2, 1], [1, 1], [0, float("nan")], ["a", "b"], {"percentile": [1]},
            {"percentil": [1, 99]},
            {"percentile": [1, 101]}, {"percentile": [-1, 99]}, [[1, 2], [3]], [[], []], 5, {}, [[1, 2], [0, 3]],
        ],
        ids=str,
    )  # fmt: skip
    def test_scale(self, scale):
        with pytest.raises(LabError, match=r"data\.scale is .*give null, type, range"):
            Reading(scale=scale)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"pages": "all"}, r"data\.pages is all: give channels, images, first or null"),
            ({"orientation": "up"}, r"data\.orientation is up: give stored, upright or null"),
            ({"megapixels": 0}, r"data\.megapixels is 0"),
        ],
    )
    def test_words_and_limits(self, options, message):
        with pytest.raises(LabError, match=message):
            Reading(**options)

    @pytest.mark.parametrize(
        "options",
        [
            {"scale": [0, 200]},
            {"scale": [0, 100]},
            {"scale": "range"},
            {"scale": {"percentile": [1, 99]}},
            {"channels": 1},
            {"channels": [0]},
            {"orientation": "stored"},
            {"pages": "first"},
        ],
        ids=str,
    )
    def test_each_makes_another_base(self, tmp_path, options):
        root = str(folder(tmp_path / "a", "a.png", pillow(shapes.GREY8)))
        fixed = {} if "channels" in options else {"mean": [0.5] * 3, "std": [0.2] * 3}
        seen = {Folder(root, SIZE, **fixed).fingerprint(), Folder(root, SIZE, **fixed, **options).fingerprint()}
        assert len(seen) == 2


class TestRefusals:
    def test_opacity_that_differs(self, tmp_path):
        message = r"channel of opacity .* set data\.channels=4 to keep .* data\.channels=\[0, 1, 2\] to leave it out"
        refuse(message, folder(tmp_path, "a.png", pillow(shapes.FOUR8)))

    def test_no_pixels(self, tmp_path):
        root = folder(tmp_path, "a.npy", shapes.array(np.zeros((0, 16), np.uint8)))
        refuse(r"a\.npy has no pixels: restore the file", root)

    def test_pages_that_were_not_spoken_of(self, tmp_path):
        message = r"a\.tif has 3 pages: set data\.pages=channels .* data\.pages=images .* data\.pages=first"
        refuse(message, folder(tmp_path, "a.tif", tiff(shapes.STACK8, photometric="minisblack")))

    def test_an_animation(self, tmp_path):
        frames = [Pillow.fromarray(shapes.GREY8), Pillow.fromarray(shapes.GREY8[::-1])]
        write = lambda path: frames[0].save(path, save_all=True, append_images=frames[1:])  # noqa: E731
        refuse(r"a\.gif has 2 pages", folder(tmp_path, "a.gif", write))

    @pytest.mark.parametrize(("value", "what"), [(np.nan, "NaN"), (np.inf, "infinite values")])
    def test_numbers_that_are_none(self, tmp_path, value, what):
        pixels = shapes.UNIT.copy()
        pixels[3, 4] = value
        refuse(rf"a\.tif holds {what}: fill in", folder(tmp_path, "a.tif", tiff(pixels)))

    def test_complex_numbers(self, tmp_path):
        refuse(r"a\.tif holds complex64 numbers", folder(tmp_path, "a.tif", tiff(shapes.UNIT.astype(np.complex64))))

    def test_different_numbers_of_channels(self, tmp_path):
        four = samples(shapes.FOUR8, extrasamples=["unspecified"] * 3)
        root = folder(tmp_path, "a.tif", four, tiff(shapes.GREY8))
        refuse(r"1a\.tif has 1 channels, but .*0a\.tif has 4: convert some, or choose .* data\.channels=\[0\]", root)

    def test_fewer_channels_than_asked_for(self, tmp_path):
        root = folder(tmp_path, "a.png", pillow(shapes.RGB8))
        refuse(r"a\.png has 3 channels, not 4: convert it, or choose .* data\.channels=\[0, 1, 2\]", root, channels=4)
        refuse(r"a\.png has 3 channels, numbered 0 to 2: correct data\.channels=\[0, 3\]", root, channels=[0, 3])
        refuse(r"a\.png has 3 channels, not 1: .* data\.channels=\[0\]", root, channels=1)

    def test_different_types_of_numbers(self, tmp_path):
        root = folder(tmp_path, "a.tif", tiff(shapes.GREY8), tiff(shapes.GREY16))
        refuse(r"1a\.tif holds uint16 numbers, but .*0a\.tif holds uint8: convert some", root)

    @pytest.mark.parametrize("limit", [0.0001, 0.00015])
    def test_more_pixels_than_allowed(self, tmp_path, limit):
        root = folder(tmp_path, "a.png", pillow(shapes.GREY8))
        refuse(
            rf"has 16 x 12 pixels, more than data\.megapixels={limit:g}: set data\.megapixels=1", root, megapixels=limit
        )

    def test_a_scale_for_other_channels(self, tmp_path):
        root = folder(tmp_path, "a.png", pillow(shapes.RGB8))
        refuse(r"data\.scale has 2 and 2 numbers for 3 channels", root, scale=[[0, 0], [9, 9]])

    def test_mean_and_std_for_other_channels(self, tmp_path):
        root = folder(tmp_path, "a.png", pillow(shapes.RGB8))
        refuse(r"data\.mean has 2 numbers: give 3", root, mean=[0, 0], std=[1, 1])
        refuse(r"data\.std has 2 numbers: give 3", root, std=[1, 1])

    @pytest.mark.parametrize(("file", "library"), [("a.nii.gz", "nibabel"), ("a.dcm", "pydicom")])
    def test_a_library_that_is_not_installed(self, tmp_path, monkeypatch, file, library):
        (tmp_path / file).write_bytes(b"something")

        def missing(name: str) -> None:
            raise ImportError(name)

        monkeypatch.setattr(volumes.importlib, "import_module", missing)
        with pytest.raises(LabError, match=rf"needs {library}: install it with pip install 'pruning_lab\[medical\]'"):
            read_image(tmp_path / file)

    @pytest.mark.parametrize("file", ["a.tif", "a.npy", "a.nii", "a.nii.gz", "a.dcm", "a.png", "a.gif", "a.webp"])
    @pytest.mark.parametrize("content", [b"", b"no picture at all" * 20])
    def test_damaged_files_of_each_format(self, tmp_path, file, content):
        (tmp_path / file).write_bytes(content)
        with pytest.raises(LabError, match="it is damaged or no image"):
            read_image(tmp_path / file)

    def test_an_array_is_never_unpickled(self, tmp_path, monkeypatch):
        np.save(tmp_path / "a.npy", np.array([{"a": 1}], object), allow_pickle=True)
        monkeypatch.setattr(builtins, "eval", lambda *_: pytest.fail("something was run"))
        with pytest.raises(LabError, match="it is damaged or no image"):
            read_image(tmp_path / "a.npy")


def test_an_image_beyond_pillows_limit_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(Pillow, "MAX_IMAGE_PIXELS", 50)
    root = folder(tmp_path, "a.png", pillow(shapes.RGB8))
    data = Folder(str(root), SIZE)
    np.testing.assert_array_equal(data.train[0][0], shapes.RGB8)
    assert Pillow.MAX_IMAGE_PIXELS == 50


@pytest.mark.parametrize("note", [5, 6, 7, 8])
def test_an_image_that_fits_its_mask_only_when_turned_is_turned(tmp_path, caplog, note):
    root = folder(tmp_path, "a.png", noted(note, shapes.WITH_NOTE), mask=CLASSES.T)
    data = Folder(str(root), SIZE[::-1])
    np.testing.assert_array_equal(data.train[0][0], shapes.upright(root / "train/images/0a.png"))
    assert "3 images carry an EXIF note of rotation, e.g. train/images/0a.png: 3 were turned to fit" in caplog.text
    refuse(r"its image 0a\.png is 16 x 12: .* \(EXIF orientation", root, orientation="stored")


def test_a_note_that_changes_nothing_is_said(tmp_path, caplog):
    Folder(str(folder(tmp_path, "a.png", noted(3, shapes.WITH_NOTE))), SIZE)
    assert "0 were turned to fit their masks, the others are read as stored; data.orientation=upright" in caplog.text


def test_image_and_mask_are_turned_by_their_own_notes(tmp_path):
    root = folder(tmp_path, "a.png", noted(6, shapes.WITH_NOTE))
    for path in root.rglob("masks/*.png"):
        note = Pillow.Exif()
        note[0x0112] = 6
        Pillow.fromarray(CLASSES).save(path, exif=note)
    image, mask = Folder(str(root), SIZE[::-1], orientation="upright").train[0]
    np.testing.assert_array_equal(image, np.rot90(shapes.WITH_NOTE, -1))
    np.testing.assert_array_equal(mask, np.rot90(CLASSES, -1))


@pytest.mark.parametrize("note", range(1, 9))
def test_turning_masks_is_turning_images(note):
    np.testing.assert_array_equal(turned(shapes.RGB8, note)[..., 0], turned(shapes.RGB8[..., 0], note))


class TestPagesAsImages:
    def test_a_stack_and_its_masks(self, tmp_path):
        masks = np.stack([CLASSES, 1 - CLASSES, CLASSES])
        for split in ("train", "val", "test"):
            for kind, stack in (("images", shapes.STACK8), ("masks", masks)):
                (tmp_path / split / kind).mkdir(parents=True)
                tiff(stack, photometric="minisblack")(tmp_path / split / kind / "a.tif")
        data = Folder(str(tmp_path), SIZE, pages="images")
        assert len(data.train) == 3
        assert data.train.label(2) == "train/images/a.tif[2]"
        for number in range(3):
            image, mask = data.val[number]
            np.testing.assert_array_equal(image, shapes.three(shapes.STACK8[number]))
            np.testing.assert_array_equal(mask, masks[number])

    @pytest.mark.parametrize("kind", [np.uint8, np.float64])
    def test_slices_of_volumes(self, tmp_path, kind):
        volume = np.stack([shapes.CT16.T + 3 * number for number in range(5)], axis=2)
        masks = np.stack([CLASSES.T, 1 - CLASSES.T] * 2 + [CLASSES.T], axis=2).astype(kind)
        for case in ("one", "two", "three", "four"):
            for folder_, values_ in (("images", volume), ("masks", masks)):
                (tmp_path / folder_).mkdir(exist_ok=True)
                nifti(values_)(tmp_path / folder_ / f"{case}.nii.gz")
        data = Folder(str(tmp_path), SIZE, split={"val": 0.25, "test": 0.25})
        assert [len(data.train), len(data.val), len(data.test)] == [10, 5, 5]
        assert len({data.val.label(index).partition("[")[0] for index in range(5)}) == 1
        image, mask = data.train[3]
        np.testing.assert_array_equal(image, shapes.scaled(shapes.three(volume[:, :, 3].T), -1024, 3083))
        np.testing.assert_array_equal(mask, 1 - CLASSES)

    @pytest.mark.parametrize("axis", ["x", "y", "z"])
    def test_slices_along_each_axis_of_images_and_masks(self, tmp_path, axis):
        stream = np.random.default_rng(1)
        volume, labels = stream.integers(0, 900, (4, 5, 6)).astype(np.int16), stream.integers(0, 2, (4, 5, 6))
        for split in ("train", "val", "test"):
            for kind, stored in (("images", volume), ("masks", labels.astype(np.uint8))):
                (tmp_path / split / kind).mkdir(parents=True)
                nifti(stored)(tmp_path / split / kind / "a.nii.gz")
        place = "xyz".index(axis)
        size = tuple(side for each, side in enumerate((4, 5, 6)) if each != place)[::-1]
        data = Folder(str(tmp_path), size, axis=axis, scale=[0, 900], channels=1)
        files = [nibabel.load(tmp_path / "train" / kind / "a.nii.gz") for kind in ("images", "masks")]
        assert len(data.train) == files[0].shape[place]
        for number in range(len(data.train)):
            cut = tuple(slice(number, number + 1) if each == place else slice(None) for each in range(3))
            image, mask = (file.slicer[cut].get_fdata().squeeze(place).T for file in files)
            np.testing.assert_allclose(data.train[number][0][..., 0], image / 900, rtol=1e-6)
            np.testing.assert_array_equal(data.train[number][1], mask)

    def test_the_axis_is_a_part_of_the_fingerprint_and_of_its_own_words(self, tmp_path):
        for split in ("train", "val", "test"):
            for kind in ("images", "masks"):
                (tmp_path / split / kind).mkdir(parents=True)
                nifti(np.arange(64).reshape(4, 4, 4).astype(np.int16) % 2)(tmp_path / split / kind / "a.nii")
        prints = {Folder(str(tmp_path), (4, 4), axis=axis).fingerprint() for axis in "xyz"}
        assert len(prints) == 3
        with pytest.raises(LabError, match=r"data\.axis is t: give x, y, z"):
            Folder(str(tmp_path), (4, 4), axis="t")

    def test_the_first_page_of_both(self, tmp_path):
        for split in ("train", "val", "test"):
            for kind, stack in (("images", shapes.STACK8), ("masks", np.stack([CLASSES, 1 - CLASSES, CLASSES]))):
                (tmp_path / split / kind).mkdir(parents=True)
                tiff(stack, photometric="minisblack")(tmp_path / split / kind / "a.tif")
        image, mask = Folder(str(tmp_path), SIZE, pages="first").test[0]
        np.testing.assert_array_equal(image, shapes.three(shapes.STACK8[0]))
        np.testing.assert_array_equal(mask, CLASSES)

    def test_masks_of_another_number_of_pages(self, tmp_path):
        stack = tiff(shapes.STACK8, photometric="minisblack")
        message = r"0a\.png has 1 pages for 3 images in 0a\.tif: give it a page for each image"
        refuse(message, folder(tmp_path, "a.tif", stack), pages="images")


class TestScale:
    def test_all_training_images_are_looked_at_and_no_other(self, tmp_path):
        root = folder(tmp_path, "a.tif", *(tiff(values(low, 900 + low, np.uint16)) for low in (5, 60, 700)))
        tiff(values(0, 60_000, np.uint16))(root / "test/images/0a.tif")
        data = Folder(str(root), SIZE)
        assert data.scale == Scale((5.0,) * 3, (1600.0,) * 3)
        assert (
            "values 5 to 1600 in train, 3 channels (in the files: 1); 5 to 1600 becomes 0 to 1, the range" in data.about
        )
        assert data.test[0][0].max() > 30

    def test_a_channel_of_one_value_is_not_divided_by_zero(self, tmp_path):
        pixels = shapes.SIX16.copy()
        pixels[..., 2] = 77
        data = Folder(str(folder(tmp_path, "a.tif", shapes.planes(pixels))), SIZE)
        images, _ = next(iter(Loaders(data, Augmentation()).eval_loader("val")))
        assert torch.isfinite(images).all()
        assert (images[:, 2] == 0).all()

    def test_an_outlier_leaves_the_rest_its_digits(self, tmp_path):
        pixels = values(100, 102, np.float64)
        pixels[5, 5] = 1e6
        data = Folder(str(folder(tmp_path, "a.tif", tiff(pixels))), SIZE)
        images, _ = next(iter(Loaders(data, Augmentation()).eval_loader("val")))
        assert images[0, 0].flatten().unique().numel() > 30
        assert images.std() == pytest.approx(1, abs=0.05)

    def test_percentiles_are_those_of_numpy_over_all_images(self, tmp_path):
        stored = [values(0, high, np.uint16) for high in (300, 900, 4000)]
        root = folder(tmp_path, "a.tif", *map(tiff, stored))
        low, high = np.percentile(np.stack(stored), (2, 95))
        scale = Folder(str(root), SIZE, scale={"percentile": [2, 95]}).scale
        assert scale is not None
        np.testing.assert_allclose([scale.low[0], scale.high[0]], [low, high])
        assert scale.clip

    def test_a_recipe_reads_an_image_outside_the_data_set_alike(self, tmp_path):
        root = folder(tmp_path, "a.tif", shapes.planes(shapes.SIX16))
        data = Folder(str(root), SIZE, channels=[5, 0])
        image = read_image(root / "val/images/0a.tif", channels=[5, 0], scale=data.scale)
        np.testing.assert_array_equal(image, data.val[0][0])

    def test_words_are_understood(self):
        assert scale_rule({"percentile": [1, 99]}).kind == "percentile"
        assert scale_rule([0, 1]).ends == ((0.0,), (1.0,))


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 6, 12])
@pytest.mark.parametrize("size", [(6, 8), (24, 40), (9, 30)])
@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_any_number_of_channels_is_resized_channel_by_channel(tmp_path, channels, size, kind):
    pixels = values(0, 200, kind, channels)
    root = folder(tmp_path, "a.npy", shapes.array(pixels))
    options = {"channels": channels} if channels == 1 else {}
    image, mask = Folder(str(root), size, **options).train[0]
    assert (image.shape, mask.shape) == ((*size, channels), size)
    for channel in range(channels):
        alone = folder(tmp_path / str(channel), "a.npy", shapes.array(pixels[..., channel]))
        other, _ = Folder(str(alone), size, channels=1).train[0]
        # OpenCV sums in another order where there are more channels.
        atol = 1 if kind == np.uint8 else 1e-5
        np.testing.assert_allclose(image[..., channel].astype(float), other[..., 0].astype(float), atol=atol)


def test_worker_processes_give_the_same_fractions(tmp_path):
    root = folder(tmp_path, "a.tif", *(shapes.planes(values(0, 9000, np.uint16, 5)) for _ in range(6)))
    steps = [{"name": "HueSaturationValue", "p": 1}, {"name": "Affine", "rotate": [-40, 40], "p": 1}]
    alone, helped = (
        Loaders(Folder(str(root), SIZE, cache_mb=0), Augmentation(steps), batch_size=4, workers=workers)
        for workers in (0, 1)
    )
    for one, other in zip(alone.train_loader(1), helped.train_loader(1), strict=True):
        assert torch.equal(one[0], other[0])
        assert torch.equal(one[1], other[1])


def test_headers_of_arrays_are_read_one_at_a_time(tmp_path, monkeypatch):
    """Python 3.11 raises SystemError now and then where two threads read a literal at once."""
    path = tmp_path / "a.npy"
    np.save(path, values(0, 200, np.uint8, 3))
    load, at_once, most = np.load, [], []

    def slow(*args, **kwargs):
        at_once.append(1)
        most.append(len(at_once))
        time.sleep(0.01)
        found = load(*args, **kwargs)
        at_once.pop()
        return found

    monkeypatch.setattr(np, "load", slow)
    with ThreadPoolExecutor(4) as threads:
        pages = list(threads.map(lambda _: Arrays().page(path, 0), range(8)))
    assert len(pages) == 8
    assert max(most) == 1


@pytest.mark.parametrize("channels", [1, 3, 4, 6, 9])
@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_batches_are_normalized_channel_by_channel(tmp_path, channels, kind):
    stored = [values(0, 200, kind, channels) for _ in range(4)]
    root = folder(tmp_path, "a.npy", *map(shapes.array, stored))
    data = Folder(str(root), SIZE, channels=channels)
    made = Loaders(data, Augmentation(), batch_size=4)
    images, _ = next(iter(made.eval_loader("train")))
    assert (images.shape, images.is_contiguous()) == ((4, channels, *SIZE), True)
    torch.testing.assert_close(images.mean((0, 2, 3)), torch.zeros(channels), atol=2e-3, rtol=0)
    torch.testing.assert_close(images.std((0, 2, 3)), torch.ones(channels), atol=5e-3, rtol=0)
    pixels = np.stack(stored).transpose(0, 3, 1, 2).astype(np.float64)
    whole = (pixels - pixels.mean((0, 2, 3), keepdims=True)) / pixels.std((0, 2, 3), keepdims=True)
    np.testing.assert_allclose(images, whole, atol=2e-3)
    for image, _ in made.sample_picture_data(2):
        assert (image.shape, image.dtype) == ((*SIZE, channels), kind)
