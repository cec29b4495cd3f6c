"""Public data sets, as torchvision unpacks them. The only module of this folder that imports torchvision.

It is asked to download, and for nothing else; files are found and read as those of a user's folder are.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from pruning_lab.common.errors import LabError
from pruning_lab.data.checking import read_splits
from pruning_lab.data.contract import SegmentationData, channel_statistics, checked_size
from pruning_lab.data.digests import memory_for
from pruning_lab.data.files import FilePair
from pruning_lab.data.layouts import divide
from pruning_lab.data.masks import MaskRules, values_table

PET_VALUES = {1: 1, 2: 0, 3: 255}
"""Trimaps hold 1 for the animal, 2 for the background and 3 for the border between them."""
VOC_CLASSES = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *(
        "dining table",
        "dog",
        "horse",
        "motorbike",
        "person",
        "potted plant",
        "sheep",
        "sofa",
        "train",
        "tv monitor",
    ),
)
VOC_YEARS = ("2007", "2008", "2009", "2010", "2011", "2012")
IGNORED = 255


class OxfordPet(SegmentationData):
    """Oxford-IIIT Pet: background and pet; the border between them does not count.

    `root` holds `oxford-iiit-pet/`, as torchvision unpacks it; `download` fetches it if it isn't there.
    `size` is (height, width). `val_fraction` of the official training files become the val split, chosen by
    `seed`; the test split is the official one. `mask_values` says what the trimap's values mean, e.g. {1: 1,
    2: 0, 3: 1} to count the border as pet. Raises LabError if the data aren't there, or naming the file that
    is wrong.
    """

    def __init__(
        self,
        root: str,
        size: Sequence[int] = (128, 128),
        download: bool = False,
        val_fraction: float = 0.15,
        seed: int = 0,
        mask_values: Mapping[int, int] | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        cache_mb: float = 1024,
    ) -> None:
        base = Path(root) / "oxford-iiit-pet"
        lists = base / "annotations"
        ensure_present("oxford_pet", lists / "test.txt", download, lambda: _download_pet(root))
        values = values_table(mask_values or PET_VALUES)

        def listed(name: str) -> list[FilePair]:
            return _listed(lists / f"{name}.txt", base / "images", lists / "trimaps")

        pairs = divide(listed("trainval"), {"val": val_fraction}, seed) | {"test": listed("test")}
        rules = MaskRules(2, IGNORED, values)
        read = read_splits(pairs, checked_size(size), rules, cache_mb, memory=memory_for(base))
        used_mean, used_std = channel_statistics(read.splits["train"], mean, std)
        super().__init__(
            name="oxford_pet",
            class_names=("background", "pet"),
            ignore_index=IGNORED,
            mean=used_mean,
            std=used_std,
            identity=read.identity,
            resized=read.resized,
            file_size=read.file_size,
            about=read.about,
            train=read.splits["train"],
            val=read.splits["val"],
            test=read.splits["test"],
        )


class Voc(SegmentationData):
    """PASCAL VOC segmentation: background and 20 classes; outlines and difficult parts do not count.

    `root` holds `VOCdevkit/VOC<year>/`, as torchvision unpacks it; `download` fetches it if it isn't there.
    `size` is (height, width). `val_fraction` of the official training files become the val split, chosen by
    `seed`; the test split is the official validation set, since later years keep their test masks secret.
    Raises LabError if the data aren't there, or naming the file that is wrong.
    """

    def __init__(
        self,
        root: str,
        size: Sequence[int] = (256, 256),
        download: bool = False,
        year: str | int = "2012",
        val_fraction: float = 0.15,
        seed: int = 0,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        cache_mb: float = 1024,
    ) -> None:
        if str(year) not in VOC_YEARS:
            raise LabError(f"data.year is {year}: VOC has {', '.join(VOC_YEARS)}")
        base = Path(root) / ("TrainVal" if str(year) == "2011" else "") / "VOCdevkit" / f"VOC{year}"
        lists = base / "ImageSets" / "Segmentation"
        ensure_present("voc", lists / "val.txt", download, lambda: _download_voc(root, str(year)))

        def listed(name: str) -> list[FilePair]:
            return _listed(lists / f"{name}.txt", base / "JPEGImages", base / "SegmentationClass")

        pairs = divide(listed("train"), {"val": val_fraction}, seed) | {"test": listed("val")}
        rules = MaskRules(len(VOC_CLASSES), IGNORED)
        read = read_splits(pairs, checked_size(size), rules, cache_mb, memory=memory_for(base))
        used_mean, used_std = channel_statistics(read.splits["train"], mean, std)
        super().__init__(
            name="voc",
            class_names=VOC_CLASSES,
            ignore_index=IGNORED,
            mean=used_mean,
            std=used_std,
            identity=repr((str(year), read.identity)),
            resized=read.resized,
            file_size=read.file_size,
            about=read.about,
            train=read.splits["train"],
            val=read.splits["val"],
            test=read.splits["test"],
        )


def ensure_present(name: str, marker: Path, download: bool, fetch: Callable[[], object]) -> None:
    """Return if the file `marker` is there, after `fetch` where `download` allows it; else raise LabError."""
    if marker.is_file():
        return
    if not download:
        raise LabError(f"data={name} found no {marker}: correct data.root, or add data.download=true to fetch it")
    try:
        fetch()
    except (OSError, RuntimeError, EOFError) as problem:
        reason = " ".join(str(problem).split())
        raise LabError(f"data={name} could not be downloaded ({reason}): try again, or unpack it by hand") from problem
    if not marker.is_file():
        raise LabError(f"data={name} was downloaded, but {marker} is still missing: empty data.root and try again")


def _listed(names: Path, images: Path, masks: Path) -> list[FilePair]:
    """Return the pairs that the text file `names` lists, one a line, by its first word."""
    stems = [line.split()[0] for line in names.read_text().splitlines() if line.strip() and line[0] != "#"]
    return [FilePair(images / f"{stem}.jpg", masks / f"{stem}.png", stem) for stem in stems]


def _download_pet(root: str) -> None:
    from torchvision.datasets import OxfordIIITPet

    OxfordIIITPet(root, download=True)


def _download_voc(root: str, year: str) -> None:
    from torchvision.datasets import VOCSegmentation

    VOCSegmentation(root, year=year, image_set="train", download=True)
