import pytest

from pruning_lab.lab.output import units


@pytest.mark.parametrize(
    ("spelled", "expected"),
    [
        (units.percent(0.2512), "25.1 %"),
        (units.percent(0.87654, 2), "87.65 %"),
        (units.points(0.0042), "+0.42 points"),
        (units.points(-0.01), "-1.00 points"),
        (units.count(17_263_042), "17.3 M"),
        (units.count(999), "999"),
        (units.count(999_900), "1.00 M"),
        (units.count(54_321), "54.3 k"),
        (units.count(1.234e9), "1.23 G"),
        (units.size(69_100_000), "69.1 MB"),
        (units.size(12), "12 B"),
        (units.milliseconds(3.14159), "3.14 ms"),
        (units.milliseconds(158.2), "158 ms"),
        (units.milliseconds(9.996), "10.0 ms"),
        (units.milliseconds(2345.6), "2346 ms"),
        (units.duration(3.21), "3.2 s"),
        (units.duration(59.97), "1:00"),
        (units.duration(75.2), "1:15"),
        (units.duration(4000), "1:06:40"),
    ],
)
def test_quantities_are_spelled_with_three_digits_and_a_unit(spelled: str, expected: str) -> None:
    assert spelled == expected
