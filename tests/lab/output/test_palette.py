"""Ten methods' colors can be told apart by any color vision, on a white page and on a dark one. Measured here."""

import itertools

import matplotlib as mpl
import numpy as np
import pytest

from pruning_lab.lab.output.palette import CONTROL_COLOR, DARK_METHOD_COLORS, METHOD_COLORS, lightened, line_colors

# Machado, Oliveira and Fernandes, "A physiologically-based model for simulation of color vision deficiency" (2009), at
# full severity; rows of linear RGB.
VISION = {
    "normal": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}
TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
WHITE = np.array([0.95047, 1.0, 1.08883])
WHITE_PAGE, DARK_PAGE = "#ffffff", "#15181c"
LIGHT_ROW, DARK_ROW = (*METHOD_COLORS, CONTROL_COLOR), (*DARK_METHOD_COLORS, lightened(CONTROL_COLOR))


def linear(color: str) -> np.ndarray:
    part = np.array(mpl.colors.to_rgb(color))
    return np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)


def lab(light: np.ndarray) -> tuple[float, float, float]:
    """CIELAB of linear RGB."""
    x, y, z = (np.cbrt(v) if v > 0.008856 else 7.787 * v + 16 / 116 for v in TO_XYZ @ np.clip(light, 0, 1) / WHITE)
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def ciede2000(one: tuple[float, float, float], other: tuple[float, float, float]) -> float:
    """Sharma, Wu and Dalal, "The CIEDE2000 color-difference formula" (2005)."""
    (l1, a1, b1), (l2, a2, b2) = one, other
    mean = (np.hypot(a1, b1) + np.hypot(a2, b2)) / 2
    g = 0.5 * (1 - np.sqrt(mean**7 / (mean**7 + 25**7)))
    c1, c2 = np.hypot((1 + g) * a1, b1), np.hypot((1 + g) * a2, b2)
    h1, h2 = (np.degrees(np.arctan2(b, (1 + g) * a)) % 360 for a, b in ((a1, b1), (a2, b2)))
    turn = (h2 - h1 + 180) % 360 - 180
    light, chroma = (l1 + l2) / 2, (c1 + c2) / 2
    hue = (h1 + h2) / 2 + (180 if abs(h1 - h2) > 180 else 0)
    t = 1 - 0.17 * cosine(hue - 30) + 0.24 * cosine(2 * hue) + 0.32 * cosine(3 * hue + 6) - 0.2 * cosine(4 * hue - 63)
    dl = (l2 - l1) / (1 + 0.015 * (light - 50) ** 2 / np.sqrt(20 + (light - 50) ** 2))
    dc = (c2 - c1) / (1 + 0.045 * chroma)
    dh = 2 * np.sqrt(c1 * c2) * np.sin(np.radians(turn / 2)) / (1 + 0.015 * chroma * t)
    around = np.exp(-((((hue % 360) - 275) / 25) ** 2))
    rotation = -2 * np.sqrt(chroma**7 / (chroma**7 + 25**7)) * np.sin(np.radians(60 * around))
    return float(np.sqrt(dl**2 + dc**2 + dh**2 + rotation * dc * dh))


def cosine(degrees: float) -> float:
    return float(np.cos(np.radians(degrees)))


def contrast(one: str, other: str) -> float:
    """WCAG 2's ratio of luminances."""
    low, high = sorted(float(TO_XYZ[1] @ linear(color)) for color in (one, other))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize(
    ("one", "other", "known"),
    [
        ((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425),
        ((50, -1.3802, -84.2814), (50, 0, -82.7485), 1.0000),
        ((50, 2.5, 0), (61, -5, 29), 22.8977),
        ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
        ((22.7233, 20.0904, -46.6940), (23.0331, 14.9730, -42.5619), 2.0373),
    ],
)
def test_the_measure_is_that_of_the_papers_test_data(one: tuple, other: tuple, known: float) -> None:
    assert ciede2000(one, other) == pytest.approx(known, abs=1e-4)


@pytest.mark.parametrize("vision", VISION)
@pytest.mark.parametrize(("colors", "least"), [(LIGHT_ROW, 14.0), (DARK_ROW, 12.0)])
def test_any_two_of_ten_colors_and_the_gray_of_controls_differ_for_every_vision(
    vision: str, colors: tuple[str, ...], least: float
) -> None:
    seen = [lab(VISION[vision] @ linear(color)) for color in colors]
    assert min(ciede2000(*pair) for pair in itertools.combinations(seen, 2)) >= least


def test_the_measure_finds_what_a_color_blind_eye_can_not_tell_apart() -> None:
    red, green = linear("#c03a2b"), linear("#5d7a1f")
    for vision, told in (("normal", True), ("protanopia", False)):
        seen = [lab(VISION[vision] @ color) for color in (red, green)]
        assert (ciede2000(*seen) > 14) == told


def test_colors_stand_out_from_their_page() -> None:
    assert min(contrast(color, WHITE_PAGE) for color in LIGHT_ROW) >= 2.0
    assert min(contrast(color, DARK_PAGE) for color in DARK_ROW) >= 2.6


def test_lines_have_as_many_colors_as_there_are() -> None:
    for number in (1, 10, 11, 40):
        assert len(set(line_colors(number))) == number
