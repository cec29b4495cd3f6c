from pathlib import Path

from pruning_lab.lab.output.card import Card, Cards
from pruning_lab.lab.output.description import description


def test_the_first_line_says_it_all_and_the_rest_how_to_get_it_again() -> None:
    base = Card("base", 1000, 100, 10.0, 0.9, 0.91, 0.95, 4000)
    pruned = Card("pruned (step 3)", 250, 30, 4.0, 0.88, 0.89, 0.94, 1000)
    cards = Cards(base, pruned, "hash", 0, "commit", True)
    told = description(cards, "run ended (budget)", {"command": "python -m pruning_lab x"}, Path("/runs/7"))
    first, *rest = told.split("\n")
    assert first == "validation IoU 88.0 % (base 90.0 %) with 25.0 % of the FLOPs and 30.0 % of the weights"
    assert any("test IoU" in line and "91.00 %" in line and "-2.00 points" in line for line in rest)
    assert "run ended (budget)" in rest
    assert '`pruning_lab.load("/runs/7/model")`' in rest
    assert rest[-1] == "`python -m pruning_lab x`"
