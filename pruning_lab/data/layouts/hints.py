"""What a folder of another layout looks like, and the option that would read it. Looks at names only."""

from pathlib import Path

IMAGE_WORDS = ("images", "image", "imgs", "img", "jpegimages", "inputs", "input", "x", "pictures", "raw", "data")
MASK_WORDS = (
    *("masks", "mask", "labels", "label", "annotations", "annotation", "annots", "gt", "groundtruth", "ground_truth"),
    *("targets", "target", "y", "segmentation", "segmentations", "seg"),
)
SHALLOW = ("*.json", "*/*.json")


def hint(root: Path, images: str) -> str:
    """Return what to do about a folder that has none of the usual subfolders."""
    if (root / "leftImg8bit").is_dir():
        return "it looks like Cityscapes, so use data=cityscapes"
    if (root / "JPEGImages").is_dir():
        return "it looks like PASCAL VOC, so use data=voc_own"
    for pattern in SHALLOW:
        for path in sorted(root.glob(pattern)):
            return f"{path.relative_to(root)} may be a COCO file, so use data=coco data.coco={path.relative_to(root)}"
    for path in sorted(root.glob("*.csv")):
        return f"{path.name} may be a table of pairs, so use data.csv={path.name}"
    for folder in (root, root / "train", root / "training"):
        names = {path.name.lower(): path.name for path in folder.iterdir() if path.is_dir()} if folder.is_dir() else {}
        image = next((names[word] for word in IMAGE_WORDS if word in names), None)
        mask = next((names[word] for word in MASK_WORDS if word in names), None)
        if image is not None and mask is not None and (image, mask) != (images, "masks"):
            return f"{image} and {mask} may be the two, so set data.images={image} data.masks={mask}"
    return "lay the files out so, or correct data.root"
