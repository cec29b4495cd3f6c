"""The name of a job's folder follows from the settings that its numbers depend on."""

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from pruning_lab.tasks.config import conf_folder, register_schema
from pruning_lab.tasks.job_names import changed_text, job_hash, job_name, name_of
from tests.tasks.test_config import composed


def with_hydra(root: Path, *overrides: str) -> DictConfig:
    register_schema()
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        return compose("config", [f"output_root={root}", *overrides], return_hydra_config=True)


@pytest.mark.parametrize(
    "same",
    ["output_root=x", "tracking=none", "threads=3", "loader.workers=2", "name=other", "base.reuse=false", "bases=y"],
)
def test_what_changes_no_number_changes_no_name(same: str) -> None:
    assert job_hash(composed("seed=2", same)) == job_hash(composed("seed=2"))


@pytest.mark.parametrize(
    "other", ["seed=3", "importance=l1", "stop.flops=0.3", "precision=bfloat16", "loader.batch_size=4"]
)
def test_what_changes_a_number_changes_the_name(other: str) -> None:
    assert job_hash(composed(other)) != job_hash(composed())


def test_the_way_to_a_setting_does_not_count() -> None:
    assert job_hash(composed("stop.flops=0.25", "seed=1")) == job_hash(composed("seed=1"))


def test_a_name_says_what_was_set_and_can_be_typed_back() -> None:
    text = changed_text(["importance=l1", "selection.amount.share=0.2", "+data.root=/a/b c", "seed=1"], ["seed"])
    assert text == "root_b_c-importance_l1-share_0.2"


def test_a_name_tells_what_the_sweep_changes_and_no_more(tmp_path: Path) -> None:
    fixed = "hydra.job.config.override_dirname.exclude_keys=[output_root,max_steps]"
    config = with_hydra(tmp_path, "max_steps=3", "seed=1", fixed)
    assert job_name(config) == f"seed_1-{job_hash(config)}"
    assert job_name(config) == config.hydra.sweep.subdir


def test_a_job_is_called_by_what_its_sweep_changes_and_by_its_hash_where_that_is_nothing(tmp_path: Path) -> None:
    alone = with_hydra(tmp_path, "seed=1", "hydra.job.config.override_dirname.exclude_keys=[output_root,seed]")
    assert job_name(alone) == job_hash(alone) == name_of(tmp_path / job_name(alone))
    assert name_of(tmp_path / "importance_l1-seed_1-0123456789ab") == "importance_l1-seed_1"


def test_a_job_keeps_the_folder_that_an_earlier_line_gave_it(tmp_path: Path) -> None:
    config = with_hydra(tmp_path, "seed=1")
    earlier = Path(config.hydra.sweep.dir) / f"other-{job_hash(config)}"
    earlier.mkdir(parents=True)
    assert job_name(config) == earlier.name
