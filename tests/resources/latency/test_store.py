import json
from pathlib import Path

from pruning_lab.resources.latency.profiles import LayerTime
from pruning_lab.resources.latency.store import Pass, Store, Times

PASS = Pass("net", [3, 8], 2.5, {"relu": 100.0}, {"relu": 1}, {"relu": 0.5})


def times(step: int | None = 8) -> Times:
    made = Times(step, 0.002)
    made.add([LayerTime("conv", 3, 8, 2.0)], PASS)
    return made


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    store = Store(tmp_path, "key", {"device": "cpu"})
    assert store.add(times()) == store.read() == times()


def test_two_who_write_lose_nothing(tmp_path: Path) -> None:
    Store(tmp_path, "key", {}).add(times())
    both = Store(tmp_path, "key", {}).add(times(step=4))
    assert both.layers == {"conv": [(3, 8, 2.0)] * 2}
    assert both.passes == [PASS] * 2
    assert both.step == 8


def test_without_a_folder_nothing_is_kept() -> None:
    store = Store(None, "key", {})
    assert store.add(times()) == times()
    assert store.read() == Times()


def test_a_file_of_another_kind_is_measured_anew(tmp_path: Path) -> None:
    store = Store(tmp_path, "key", {})
    assert store.path is not None
    for content in ("no json", "[]", json.dumps({"format": 0})):
        store.path.write_text(content)
        assert store.read() == Times()
    assert store.add(times()) == times()
