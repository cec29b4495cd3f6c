"""Public data sets are read from the layout in which they are unpacked, and fetched only when asked to."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from pruning_lab.common.errors import LabError
from pruning_lab.data import OxfordPet, Voc, public
from tests.data.fakes import write_picture

SIZE = (8, 10)
PICTURE = np.full((16, 20, 3), 90, np.uint8)


def fake_pets(root: Path) -> Path:
    base = root / "oxford-iiit-pet"
    for name, stems in (("trainval", [f"Abyssinian_{n}" for n in range(8)]), ("test", ["pug_1", "pug_2"])):
        for stem in stems:
            write_picture(base / "images" / f"{stem}.jpg", PICTURE)
            trimap = np.repeat(np.array([1, 2, 3, 2], np.uint8), 80).reshape(16, 20)
            write_picture(base / "annotations" / "trimaps" / f"{stem}.png", trimap)
        (base / "annotations" / f"{name}.txt").write_text("".join(f"{stem} 1 1 1\n" for stem in stems))
    return root


def fake_voc(root: Path, folder: str = "VOCdevkit/VOC2012") -> Path:
    base = root / folder
    lists = base / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    for name, stems in (("train", [f"2007_{n:06}" for n in range(10)]), ("val", ["2008_000001"])):
        for stem in stems:
            write_picture(base / "JPEGImages" / f"{stem}.jpg", PICTURE)
            mask = Pillow.fromarray(np.resize(np.array([0, 20, 255], np.uint8), (16, 20)))
            mask.putpalette([value for index in range(256) for value in (255 - index, index, 7)])
            (base / "SegmentationClass").mkdir(exist_ok=True)
            mask.save(base / "SegmentationClass" / f"{stem}.png")
        (lists / f"{name}.txt").write_text("".join(f"{stem}\n" for stem in stems))
    return root


def test_pets_are_background_pet_and_a_border_that_does_not_count(tmp_path):
    data = OxfordPet(str(fake_pets(tmp_path)), SIZE, val_fraction=0.25)
    assert [len(data.train), len(data.val), len(data.test)] == [6, 2, 2]
    assert (data.class_names, data.ignore_index, data.test.label(0)) == (("background", "pet"), 255, "pug_1")
    image, mask = data.test[0]
    assert image.shape == (8, 10, 3)
    np.testing.assert_array_equal(mask[:, 0], [1, 1, 0, 0, 255, 255, 0, 0])


def test_the_border_of_pets_can_count_as_pet(tmp_path):
    data = OxfordPet(str(fake_pets(tmp_path)), SIZE, mask_values={1: 1, 2: 0, 3: 1})
    np.testing.assert_array_equal(data.test[0][1][:, 0], [1, 1, 0, 0, 1, 1, 0, 0])


@pytest.mark.parametrize(("year", "folder"), [("2012", "VOCdevkit/VOC2012"), (2011, "TrainVal/VOCdevkit/VOC2011")])
def test_voc_has_twenty_one_classes_and_outlines_that_do_not_count(tmp_path, year, folder):
    data = Voc(str(fake_voc(tmp_path, folder)), (16, 20), year=year, val_fraction=0.2)
    assert [len(data.train), len(data.val), len(data.test)] == [8, 2, 1]
    assert (len(data.class_names), data.class_names[20], data.ignore_index) == (21, "tv monitor", 255)
    assert set(np.unique(data.train[0][1])) == {0, 20, 255}


@pytest.mark.parametrize("kind", [OxfordPet, Voc])
def test_missing_data_say_how_to_fetch_them(tmp_path, kind):
    with pytest.raises(LabError, match=r"found no .*: correct data\.root, or add data\.download=true"):
        kind(str(tmp_path))


@pytest.mark.parametrize(("kind", "fetch"), [(OxfordPet, "_download_pet"), (Voc, "_download_voc")])
def test_data_are_downloaded_when_asked_for_and_missing(tmp_path, monkeypatch, kind, fetch):
    def unpack(root: str, *year: str) -> None:
        (fake_pets if kind is OxfordPet else fake_voc)(Path(root))

    monkeypatch.setattr(public, fetch, unpack)
    assert len(kind(str(tmp_path), SIZE, download=True).test) > 0
    monkeypatch.setattr(public, fetch, lambda *_: pytest.fail("what is there is not downloaded again"))
    kind(str(tmp_path), SIZE, download=True)


@pytest.mark.parametrize(("kind", "fetch"), [(OxfordPet, "_download_pet"), (Voc, "_download_voc")])
def test_a_failed_download_is_one_line(tmp_path, monkeypatch, kind, fetch):
    def fail(*_: str) -> None:
        raise OSError("no route\nto host")

    monkeypatch.setattr(public, fetch, fail)
    with pytest.raises(LabError, match=r"could not be downloaded \(no route to host\): try again"):
        kind(str(tmp_path), download=True)


def test_a_download_that_leaves_files_out_is_noticed(tmp_path, monkeypatch):
    monkeypatch.setattr(public, "_download_voc", lambda *_: None)
    with pytest.raises(LabError, match=r"val\.txt is still missing"):
        Voc(str(tmp_path), download=True)


def test_an_unknown_year_is_refused(tmp_path):
    with pytest.raises(LabError, match=r"data\.year is 2013"):
        Voc(str(tmp_path), year=2013)


def test_a_listed_image_that_is_missing_is_named(tmp_path):
    fake_voc(tmp_path)
    (tmp_path / "VOCdevkit/VOC2012/JPEGImages/2008_000001.jpg").unlink()
    with pytest.raises(LabError, match=r"2008_000001\.jpg: it does not exist"):
        Voc(str(tmp_path), SIZE)
