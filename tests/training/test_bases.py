import json
import logging
import multiprocessing
import os
import sys
import time
from pathlib import Path

import pytest
import torch

from pruning_lab.common.errors import LabError
from pruning_lab.training.bases import base_hash, code_version, kept_base, load_or_train
from tests.networks.tiny import TinyNet, same_state, state_of

PARTS = {"model": {"width": 4, "depth": 2}, "seed": 1, "weights": None, "rates": [0.1, 2]}


def train(model: TinyNet) -> dict[str, float]:
    """Stands for a training: new random weights each time, and something to tell."""
    with torch.no_grad():
        model.conv.weight.copy_(torch.randn_like(model.conv.weight))
        model.norm.running_mean.fill_(3.0)
    return {"iou": 0.5}


def refuse(model: TinyNet) -> dict[str, float]:
    raise AssertionError("it was trained again")


def train_slowly_and_tell(folder: Path) -> None:
    """Asks for the base from a process of its own; each training leaves a file."""

    def train_slowly(model: TinyNet) -> dict[str, float]:
        (folder / f"trained_by_{os.getpid()}").touch()
        time.sleep(0.5)
        return train(model)

    model, _, kept = load_or_train(folder / "bases", "abc", TinyNet, train_slowly)
    torch.save(model.state_dict(), folder / f"{'kept' if kept else 'trained'}_{os.getpid()}.pt")


class TestHash:
    def test_is_16_hex_digits_and_does_not_depend_on_order(self) -> None:
        assert base_hash(PARTS) == base_hash(dict(reversed(PARTS.items())))
        assert len(base_hash(PARTS)) == 16
        assert int(base_hash(PARTS), 16)

    @pytest.mark.parametrize(
        "change", [{"seed": 2}, {"seed": "1"}, {"weights": False}, {"more": 0}, {"model": {"width": 4}}]
    )
    def test_changes_with_anything(self, change: dict) -> None:
        assert base_hash(PARTS | change) != base_hash(PARTS)

    def test_refuses_what_is_not_plain_data(self) -> None:
        with pytest.raises(TypeError):
            base_hash({"loss": object()})

    def test_the_code_version_covers_the_objects_given(self) -> None:
        assert code_version() == code_version()
        assert code_version(TinyNet) != code_version()
        assert code_version(TinyNet()) == code_version(TinyNet)

    def test_the_code_version_passes_over_what_has_no_file(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delattr(sys.modules["__main__"], "__file__", raising=False)
        typed_in = type("TypedIn", (), {"__module__": "__main__"})
        assert code_version(dict, typed_in) == code_version()


class TestKeptBases:
    def test_the_base_is_trained_once_and_then_the_very_same(self, tmp_path: Path) -> None:
        first, info, kept = load_or_train(tmp_path, "abc", TinyNet, train)
        again, same_info, kept_again = load_or_train(tmp_path, "abc", TinyNet, refuse)
        assert (kept, kept_again) == (False, True)
        assert same_state(state_of(first), state_of(again))
        assert info == same_info == {"iou": 0.5}

    def test_another_hash_is_another_base(self, tmp_path: Path) -> None:
        load_or_train(tmp_path, "abc", TinyNet, train)
        assert not load_or_train(tmp_path, "abd", TinyNet, train)[2]

    def test_a_kept_base_is_found_by_its_hash_alone(self, tmp_path: Path) -> None:
        first, _, _ = load_or_train(tmp_path, "abc", TinyNet, train)
        found = kept_base(tmp_path, "abc", TinyNet)
        assert found is not None
        assert same_state(state_of(first), state_of(found))
        assert kept_base(tmp_path, "abd", TinyNet) is None
        assert kept_base(tmp_path / "nowhere", "abc", TinyNet) is None

    def test_without_a_folder_nothing_is_kept(self) -> None:
        assert load_or_train(None, "abc", TinyNet, train)[1:] == ({"iou": 0.5}, False)

    def test_an_entry_is_two_files_and_no_draft_stays(self, tmp_path: Path) -> None:
        load_or_train(tmp_path, "abc", TinyNet, train)
        assert {path.name for path in (tmp_path / "abc").iterdir()} == {"weights.safetensors", "base.json"}
        assert {path.name for path in tmp_path.iterdir()} <= {"abc", "abc.lock"}

    def test_a_training_that_fails_leaves_nothing(self, tmp_path: Path) -> None:
        with pytest.raises(AssertionError):
            load_or_train(tmp_path, "abc", TinyNet, refuse)
        assert not (tmp_path / "abc").exists()
        assert not load_or_train(tmp_path, "abc", TinyNet, train)[2]

    def test_weights_in_channels_last_and_shared_weights_are_stored(self, tmp_path: Path) -> None:
        def build() -> TinyNet:
            model = TinyNet().to(memory_format=torch.channels_last)
            model.twin = model.head
            return model

        first, _, _ = load_or_train(tmp_path, "abc", build, train)
        again, _, kept = load_or_train(tmp_path, "abc", build, refuse)
        assert kept
        assert same_state(state_of(first), state_of(again))

    @pytest.mark.parametrize("damage", ["half_weights", "flipped_bit", "no_card", "half_card", "other_model"])
    def test_a_damaged_entry_is_trained_anew_with_a_warning(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str
    ) -> None:
        load_or_train(tmp_path, "abc", lambda: TinyNet(width=8 if damage == "other_model" else 4), train)
        weights, card = tmp_path / "abc" / "weights.safetensors", tmp_path / "abc" / "base.json"
        if damage == "half_weights":
            weights.write_bytes(weights.read_bytes()[:100])
        elif damage == "flipped_bit":
            content = bytearray(weights.read_bytes())
            content[-1] ^= 1
            weights.write_bytes(content)
        elif damage == "no_card":
            card.unlink()
        elif damage == "half_card":
            card.write_text(card.read_text()[:20])
        with caplog.at_level(logging.WARNING):
            assert not load_or_train(tmp_path, "abc", TinyNet, train)[2]
        assert "trained anew" in caplog.text
        assert load_or_train(tmp_path, "abc", TinyNet, refuse)[2]

    def test_an_entry_under_the_wrong_name_is_not_taken(self, tmp_path: Path) -> None:
        load_or_train(tmp_path, "abc", TinyNet, train)
        (tmp_path / "abc").rename(tmp_path / "abd")
        assert json.loads((tmp_path / "abd" / "base.json").read_text())["base_hash"] == "abc"
        assert not load_or_train(tmp_path, "abd", TinyNet, train)[2]

    def test_a_folder_that_can_not_be_written_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(LabError, match=r"file/bases can't be written .*base\.reuse=false"):
            load_or_train(tmp_path / "file" / "bases", "abc", TinyNet, train)

    @pytest.mark.slow
    def test_two_processes_that_want_it_at_once_train_it_once(self, tmp_path: Path) -> None:
        context = multiprocessing.get_context("spawn")
        processes = [context.Process(target=train_slowly_and_tell, args=(tmp_path,)) for _ in range(2)]
        for process in processes:
            process.start()
        for process in processes:
            process.join(60)
        assert [process.exitcode for process in processes] == [0, 0]
        assert len(list(tmp_path.glob("trained_by_*"))) == 1
        states = [torch.load(path, weights_only=True) for path in tmp_path.glob("*.pt")]
        assert len(states) == 2
        assert same_state(*states)
