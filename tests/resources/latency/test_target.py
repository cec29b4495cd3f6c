import pytest

from pruning_lab.common.errors import LabError
from pruning_lab.resources.latency.target import Target


def filled(target: Target) -> Target:
    return target.filled("cpu", "float32", False, (96, 128), 4)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"runtime": "tensorrt"}, "target.runtime=tensorrt is not known; use one of eager"),
        ({"precision": "int4"}, "target.precision=int4"),
        ({"batch": 0}, "target.batch=0"),
        ({"threads": 0}, "target.threads=0"),
        ({"size": [64]}, r"target.size=\[64\]"),
    ],
)
def test_an_impossible_value_is_named(wrong: dict, told: str) -> None:
    with pytest.raises(LabError, match=told):
        Target(**wrong)


@pytest.mark.parametrize(
    ("target", "told"),
    [
        (Target("onnxruntime", precision="bfloat16"), "choose these, or eager"),
        (Target("onnxruntime", device="cuda"), "choose these, or eager"),
        (Target("cuda_graphs"), "needs a CUDA device"),
    ],
)
def test_a_runtime_that_does_not_run_there_is_named(target: Target, told: str) -> None:
    with pytest.raises(LabError, match=told):
        filled(target)


def test_what_is_left_open_is_as_in_the_run() -> None:
    target = filled(Target(threads=1))
    assert (target.device, target.precision, target.size, target.threads) == ("cpu", "float32", (96, 128), 1)
    assert target.told == "eager, cpu, float32, batch 1, 96x128, 1 thread"


def test_targets_that_differ_in_what_times_depend_on_have_other_names() -> None:
    names = {filled(each).key for each in (Target(), Target(threads=1), Target(batch=2), Target("onnxruntime"))}
    assert len(names) == 4
    assert filled(Target(cache="here")).key == filled(Target(size=[32, 32])).key  # layers' shapes have the size
