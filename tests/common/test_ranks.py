import pytest

from pruning_lab.common.ranks import Place, first_host, place_here

TORCHRUN = Place(rank=3, size=4, local_rank=1, local_size=2, node=1, address="there", port=29500)
STEP = {
    "SLURM_PROCID": "5",
    "SLURM_STEP_NUM_TASKS": "8",
    "SLURM_LOCALID": "1",
    "SLURM_NODEID": "1",
    "SLURM_JOB_ID": "100",
    "SLURM_STEP_ID": "2",
    "SLURM_STEP_NUM_NODES": "2",
    "SLURM_STEP_NODELIST": "gpu[03-04]",
}


def test_a_process_alone_has_no_place() -> None:
    assert place_here({}) is None
    assert place_here(Place(0, 1, 0, 1, 0, "here", 1).variables()) is None


def test_torchrun_tells_a_place() -> None:
    assert place_here(TORCHRUN.variables()) == TORCHRUN


def test_a_step_of_slurm_tells_one_and_a_batch_script_none() -> None:
    assert place_here(STEP) == Place(5, 8, 1, 4, 1, "gpu03", 20000 + 3102)
    assert place_here({"SLURM_PROCID": "0", "SLURM_NTASKS": "8", "SLURM_JOB_ID": "100"}) is None


@pytest.mark.parametrize(
    ("nodes", "first"),
    [("gpu03", "gpu03"), ("a,b", "a"), ("gpu[03-05,9],big1", "gpu03"), ("n[7,9]x,b", "n7x"), ("a-b[1-2]", "a-b1")],
)
def test_the_first_of_a_list_of_machines(nodes: str, first: str) -> None:
    assert first_host(nodes) == first
