"""Where the parts of the project are, for tests that read them."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
CONF = ROOT / "conf"
