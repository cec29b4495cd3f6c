"""A sweep that is typed again does what is missing, and nothing else."""

import json

import pytest
from filelock import FileLock

from pruning_lab.common.claims import LOCK
from pruning_lab.common.marks import FAILED, JOB
from tests.tasks.sweep_task import WORKED
from tests.tasks.typed_sweep import Sweep, lines_of


@pytest.mark.slow
def test_what_is_done_is_not_done_again_and_what_failed_is_tried_again(sweep: Sweep) -> None:
    sweep.trouble("2 mistake", "3 fault")
    assert sweep("seed=1,2,3,4") == 1
    assert sweep.worked == {f"seed_{seed}": 1 for seed in (1, 2, 3, 4)}
    assert "4 jobs: 4 to begin" in sweep.out
    assert "2 of 4 jobs failed" in sweep.err
    failed = {name: json.loads((path / FAILED).read_text()) for name, path in sweep.folders.items() if "2" in name}
    assert failed["seed_2"]["reason"] == "seed is unlucky; take another"
    sweep.trouble()
    assert sweep("seed=1,2,3,4") == 0
    assert sweep.worked == {"seed_1": 1, "seed_2": 2, "seed_3": 2, "seed_4": 1}
    assert "4 jobs: 2 done, 2 to try again" in sweep.out
    assert "tried again, done" in sweep.out
    assert not any((folder / FAILED).exists() for folder in sweep.folders.values())
    assert sweep("seed=1,2,3,4") == 0
    assert "4 jobs: 4 done" in sweep.out
    assert "0.3000" in sweep.out
    assert sum(sweep.worked.values()) == 6


@pytest.mark.slow
def test_a_wider_line_and_another_number_start_from_what_is_there(sweep: Sweep) -> None:
    sweep("seed=1,2")
    assert sweep("seed=1,2,3", "importance=ipad", "returns=test/iou") == 0
    assert sweep.worked == {"seed_1": 1, "seed_2": 1, "seed_3": 1}
    assert sweep.out.count("0.5000") == 3


def test_a_choice_that_there_is_not_stops_no_other_job(sweep: Sweep) -> None:
    assert sweep("importance=l1,oops,l2", "seed=1") == 1
    assert sweep.worked == {"importance_l1": 1, "importance_oops": 0, "importance_l2": 1}
    assert "importance/oops" in (sweep.folders["importance_oops"] / FAILED).read_text()
    assert "1 of 3 jobs failed" in sweep.err


@pytest.mark.slow
def test_a_key_that_one_of_the_choices_lacks_stops_no_other_job(sweep: Sweep) -> None:
    assert sweep("importance=l1,ipad", "importance.omega=0.3") == 1
    assert sweep.worked["importance_ipad"] == 1
    assert "omega" in (sweep.folders["importance_l1"] / FAILED).read_text()


@pytest.mark.slow
def test_a_sweep_that_is_stopped_goes_on(sweep: Sweep) -> None:
    sweep.trouble("2 stop")
    assert sweep("seed=1,2,3") == 130
    assert sweep.worked == {"seed_1": 1, "seed_2": 1}
    sweep.trouble()
    assert sweep("seed=1,2,3") == 0
    assert "3 jobs: 1 done, 1 to go on with, 1 to begin" in sweep.out
    assert "gone on with, done" in sweep.out


@pytest.mark.slow
def test_a_job_of_another_process_is_left_to_it(sweep: Sweep) -> None:
    sweep.trouble("2 stop")
    sweep("seed=2")
    sweep.trouble()
    (folder,) = sweep.folders.values()
    with FileLock(folder / LOCK):
        assert sweep("seed=1,2") == 0
        assert "1 in the hands of another process" in sweep.out
        assert "left to another process" in sweep.out
    assert sweep("seed=1,2") == 0


@pytest.mark.slow
def test_other_code_is_told_and_rerun_sets_the_old_results_aside(sweep: Sweep) -> None:
    sweep("seed=1,2")
    mark = sweep.folders["seed_1"] / JOB
    mark.write_text(json.dumps(json.loads(mark.read_text()) | {"code": "other", "commit": "abc"}))
    assert sweep("seed=1,2") == 0
    assert sweep.out.count("by other code, of commit abc; rerun=true does it again") == 1
    assert sweep("seed=1,2", "rerun=true") == 0
    assert sweep.worked == {"seed_1": 1, "seed_2": 1}
    for folder in sweep.folders.values():
        assert {path.name for path in (folder / "earlier" / "1").iterdir()} >= {WORKED, "done.json"}


@pytest.mark.slow
def test_a_folder_of_other_settings_is_refused_and_stays_as_it_is(sweep: Sweep) -> None:
    sweep("seed=1", "hydra.sweep.subdir=mine")
    assert sweep("seed=2", "hydra.sweep.subdir=mine") == 1
    assert "holds a job of other settings" in sweep.err
    mine = sweep.root / "sweeps" / "s" / "mine"
    assert lines_of(mine / WORKED) == 1
    assert not (mine / FAILED).exists()
