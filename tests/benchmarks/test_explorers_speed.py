"""How long a move of a control takes in the kernel, from its new value to the drawing sent back.

The bound is the promise of a redraw within 100 ms, of which the browser needs a part.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle
from typing import Any

import pytest

pytest.importorskip("pytest_benchmark", reason="it comes with the extra `test`")

from pytest_benchmark.fixture import BenchmarkFixture

from dropout_course import widgets
from dropout_course.widgets.explorer import Explorer

LIMIT = 0.05  # seconds, median, for computing and drawing


def _yours(x: Any, p: float, training: bool) -> Any:
    return x if not training else x * (x.new_empty(x.shape).uniform_() >= p) / (1 - p)


CASES: dict[str, tuple[Callable[[], Explorer], str, list[Any]]] = {
    "mask": (widgets.mask_explorer, "number", [0.2, 0.8]),
    "mask, your own": (lambda: widgets.mask_explorer(_yours), "number", [0.2, 0.8]),
    "scale, deepest": (lambda: widgets.scale_explorer(depth=6), "p", [0.2, 0.8]),
    "subnetwork, last": (widgets.subnetwork_explorer, "step", [63, 64]),
    "layer": (widgets.layer_explorer, "model", ["convolutions", "recurrent"]),
}


@pytest.mark.parametrize("case", CASES)
def test_a_move_is_computed_and_drawn_in_time(case: str, benchmark: BenchmarkFixture) -> None:
    make, name, values = CASES[case]
    explorer = make()
    positions = cycle(values)

    def move() -> None:
        explorer.controls[name].value = next(positions)

    benchmark.pedantic(move, rounds=40, warmup_rounds=4)
    assert benchmark.stats.stats.median < LIMIT
