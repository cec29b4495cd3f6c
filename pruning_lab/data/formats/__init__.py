"""File formats: each reads pixels at their own depth. Which one reads a file is decided by its ending."""

from pruning_lab.data.formats.contract import Header, Reader
from pruning_lab.data.formats.registry import IMAGE_SUFFIXES, header_of, page_of, stem_of, suffix_of, values_of

__all__ = [
    "IMAGE_SUFFIXES",
    "Header",
    "Reader",
    "header_of",
    "page_of",
    "stem_of",
    "suffix_of",
    "values_of",
]
