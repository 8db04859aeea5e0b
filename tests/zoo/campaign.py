"""The campaign: every mutant and every right style, over many seeds, on all cores (`make zoo`).

Writes docs/zoo.md and docs/zoo.svg from what it counted, and fails where the judge was wrong. Knows
nothing of what the criteria are; the same catalogue and the same seeds give the same bytes.
"""

from __future__ import annotations

import argparse
import logging
import os
import random
import sys
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from dropout_course.course import EXERCISES
from tests.zoo.catalogue import MUTANTS, STYLES, Mutant, Style

DOCS = Path(__file__).parents[2] / "docs"
STYLE_SEEDS, MUTANT_SEEDS = 2_000, 50
CHUNK = 50  # seeds of a style that one task examines
PATIENCE, IMPATIENCE = 60.0, 1.0  # seconds a check; the latter for mutants that never end

# Whose styles are many: those that get the campaign's seeds, each drawing, scaling or dropping in a
# way of its own. The others differ from one of these in a detail; the ordinary tests meet them, and
# so does the campaign with --all-styles, which then takes over an hour.
LEADING = {
    "inverted_dropout": (
        "rand-at-least-p",
        "rand-below-keep",
        "float32-mask",
        "bernoulli-fill",
        "torch-bernoulli",
        "distributions",
        "not-dropped",
        "where",
        "masked-fill",
        "scale-first",
        "boolean-index",
        "early-returns",
        "autograd-function",
        "generator-aware",
        "scripted",
    ),
    "InvertedDropout": (
        "rand-at-least-p",
        "class-checks-p",
        "class-mask-method",
        "class-calls-super",
    ),
    "standard_dropout": ("multiplies", "where", "bernoulli-fill", "autograd-function"),
    "StandardDropout": ("multiplies", "class-mask-method", "class-calls-super"),
}


@dataclass
class Tally:
    """How the examinations of one animal ended.

    `failed` counts the seeds in which a criterion failed, `named` those in which a misconception
    was named first. `criteria` keeps the judge's order.
    """

    runs: int = 0
    passed: int = 0
    criteria: tuple[str, ...] = ()
    failed: Counter[str] = field(default_factory=Counter)
    named: Counter[str] = field(default_factory=Counter)

    def add(self, other: Tally) -> None:
        self.runs += other.runs
        self.passed += other.passed
        self.criteria = max(self.criteria, other.criteria, key=len)
        self.failed += other.failed
        self.named += other.named


@dataclass(frozen=True)
class Task:
    animal: str
    seeds: range


@lru_cache(maxsize=1)
def animals() -> dict[str, Mutant | Style]:
    return {f"{type(animal).__name__} {animal.id}": animal for animal in (*MUTANTS, *STYLES)}


def is_leading(animal: Mutant | Style) -> bool:
    """Whether the campaign examines it unless asked for all styles."""
    if isinstance(animal, Mutant) or animal.exercise not in LEADING:
        return True
    return _short(animal) in LEADING[animal.exercise]


def chosen(all_styles: bool) -> dict[str, Mutant | Style]:
    return {name: one for name, one in animals().items() if all_styles or is_leading(one)}


def tasks(style_seeds: int, mutant_seeds: int, all_styles: bool = False) -> Iterator[Task]:
    """A mutant is examined by one process in one go: it may keep a mask between its seeds."""
    for name, animal in chosen(all_styles).items():
        if isinstance(animal, Mutant):
            yield Task(name, range(mutant_seeds))
        else:
            for start in range(0, style_seeds, CHUNK):
                yield Task(name, range(start, min(start + CHUNK, style_seeds)))


def examine(task: Task) -> Tally:
    """Examine one animal with each of the seeds."""
    animal = animals()[task.animal]
    endless = isinstance(animal, Mutant) and "never-finishes" in animal.named
    patience = IMPATIENCE if endless else PATIENCE
    tally = Tally()
    for seed in task.seeds:
        # Some draw from generators that no plan seeds.
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        rng = np.random.default_rng([zlib.crc32(animal.id.encode()), seed])
        verdict = EXERCISES[animal.exercise].examine(animal.target, rng, patience)
        failed = Counter({f.criterion for f in verdict.findings if not f.passed})
        criteria = tuple(finding.criterion for finding in verdict.findings)
        named = Counter(verdict.misconceptions[:1])
        tally.add(Tally(1, int(verdict.passed), criteria, failed, named))
    return tally


def prepare() -> None:
    """Make a worker ready: one thread, and torch's compiler imported before time is taken."""
    import torch._dynamo

    torch.set_num_threads(1)
    # It reports each function that it stops compiling, as a style with many shapes makes it do.
    logging.getLogger("torch._dynamo").setLevel(logging.ERROR)


def run(
    style_seeds: int, mutant_seeds: int, workers: int, all_styles: bool = False
) -> dict[str, Tally]:
    """Examine all of them in parallel; the answer does not depend on who finishes first."""
    found = {name: Tally() for name in chosen(all_styles)}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    console = Console(stderr=True)
    with (
        Progress(*columns, TimeRemainingColumn(), console=console) as progress,
        ProcessPoolExecutor(workers, get_context("spawn"), prepare) as pool,
    ):
        todo = tasks(style_seeds, mutant_seeds, all_styles)
        pending = {pool.submit(examine, task): task for task in todo}
        runs = sum(len(task.seeds) for task in pending.values())
        bar = progress.add_task(f"{len(found)} implementations", total=runs)
        for future in as_completed(pending):
            task = pending[future]
            found[task.animal].add(future.result())
            progress.advance(bar, len(task.seeds))
    return found


@dataclass(frozen=True)
class Result:
    """The campaign read by exercise."""

    mutants: tuple[tuple[Mutant, Tally], ...]
    styles: tuple[tuple[Style, Tally], ...]

    @classmethod
    def of(cls, found: dict[str, Tally]) -> Result:
        pairs = [(animals()[name], tally) for name, tally in found.items()]
        return cls(
            tuple((a, tally) for a, tally in pairs if isinstance(a, Mutant)),
            tuple((a, tally) for a, tally in pairs if isinstance(a, Style)),
        )

    def only(self, exercise: str) -> Result:
        return Result(
            tuple(pair for pair in self.mutants if pair[0].exercise == exercise),
            tuple(pair for pair in self.styles if pair[0].exercise == exercise),
        )

    @property
    def exercises(self) -> list[str]:
        inhabited = {animal.exercise for animal, _ in (*self.mutants, *self.styles)}
        return [exercise for exercise in EXERCISES if exercise in inhabited]

    @property
    def mutant_runs(self) -> int:
        return sum(tally.runs for _, tally in self.mutants)

    @property
    def killed(self) -> int:
        return sum(tally.runs - tally.passed for _, tally in self.mutants)

    @property
    def rightly_named(self) -> int:
        return sum(sum(tally.named[name] for name in set(m.named)) for m, tally in self.mutants)

    @property
    def style_runs(self) -> int:
        return sum(tally.runs for _, tally in self.styles)

    @property
    def rejected(self) -> int:
        return sum(tally.runs - tally.passed for _, tally in self.styles)

    @property
    def criteria(self) -> tuple[str, ...]:
        """Those that a mutant failed, in the judge's order, and those before judging first."""
        lists = [tally.criteria for _, tally in (*self.styles, *self.mutants)]
        ordered = dict.fromkeys(name for names in sorted(lists, key=len)[::-1] for name in names)
        failed = {name for _, tally in self.mutants for name in tally.failed}
        longest = max(lists, key=len)
        early = [name for name in ordered if name not in longest]
        return tuple(n for n in (*early, *longest) if n in failed)

    @property
    def is_proof(self) -> bool:
        complete = self.killed == self.rightly_named == self.mutant_runs
        return complete and self.rejected == 0


def markdown(result: Result, style_seeds: int, mutant_seeds: int) -> str:
    """The report: totals, then one matrix an exercise."""
    others = len(STYLES) - len(result.styles)
    lines = [
        "# The judge is proven",
        "",
        f"`make zoo` examines each of {len(result.mutants)} wrong implementations (mutants) with"
        f" {mutant_seeds} seeds and each of {len(result.styles)} right ones (styles) with"
        f" {style_seeds:,}, and writes this page."
        + (f" {others} more styles differ from one of these in a detail:" if others > 0 else "")
        + (" the ordinary tests meet them." if others > 0 else ""),
        "",
        "![Which criteria each misconception fails](zoo.svg)",
        "",
        "| exercise | mutants | runs | killed | named rightly | styles | runs | rejected |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    lines += [_totals(f"`{exercise}`", result.only(exercise)) for exercise in result.exercises]
    lines += [_totals("**all**", result), ""]
    wrong = mistakes(result)
    if wrong:
        lines += ["## Where the judge was wrong", "", *(f"* {told}" for told in wrong), ""]
    for exercise in result.exercises:
        lines += _matrix(exercise, result.only(exercise))
    return "\n".join(lines) + "\n"


def mistakes(result: Result) -> list[str]:
    """A sentence for each mutant that passed or was misnamed, and for each style rejected."""
    told = []
    for mutant, tally in result.mutants:
        if tally.passed:
            told.append(f"{mutant.id} passed {tally.passed} of {tally.runs} times")
        for name, times in tally.named.most_common():
            if name not in mutant.named:
                told.append(
                    f"{mutant.id} was named {name} {times} of {tally.runs} times, not"
                    f" {' or '.join(mutant.named)}"
                )
    for style, tally in result.styles:
        if tally.passed < tally.runs:
            told.append(f"{style.id} was {_rejections(tally)}")
    return told


def _totals(name: str, part: Result) -> str:
    cells = (
        name,
        len(part.mutants),
        f"{part.mutant_runs:,}",
        _share(part.killed, part.mutant_runs),
        _share(part.rightly_named, part.mutant_runs),
        len(part.styles),
        f"{part.style_runs:,}",
        f"{part.rejected:,}",
    )
    return f"| {' | '.join(map(str, cells))} |"


def _share(count: int, of: int) -> str:
    """In per cent; 100 only where it is all of them."""
    if count in (0, of):
        return "100 %" if count and of else "0 %"
    return f"{min(99.9, 100 * count / of):.1f} %"


def _matrix(exercise: str, part: Result) -> list[str]:
    criteria = part.criteria
    lines = [
        f"## {exercise}",
        "",
        "Per cent of the seeds in which the criterion failed; empty: never.",
        "",
        f"| mutant | named first | {' | '.join(criteria)} |",
        f"|---|---|{'--:|' * len(criteria)}",
    ]
    for mutant, tally in part.mutants:
        shares = (_cell(tally.failed[criterion], tally.runs) for criterion in criteria)
        named = ", ".join(name for name, _ in tally.named.most_common())
        lines.append(f"| {_short(mutant)} | {named} | {' | '.join(shares)} |")
    styles = ", ".join(f"{_short(s)}{_note(tally)}" for s, tally in part.styles)
    return [*lines, "", f"Right styles, {part.rejected:,} rejections: {styles}.", ""]


def _short(animal: Mutant | Style) -> str:
    return animal.id.removeprefix(f"{animal.exercise}/")


def _cell(count: int, of: int) -> str:
    return _share(count, of).removesuffix(" %") if count else ""


def _note(tally: Tally) -> str:
    return f" ({_rejections(tally)})" if tally.passed < tally.runs else ""


def _rejections(tally: Tally) -> str:
    times = tally.runs - tally.passed
    return f"rejected {times} of {tally.runs} times: {', '.join(sorted(tally.failed))}"


def draw(result: Result, path: Path) -> None:
    """Draw which criteria fail for the mutants of each misconception, as an SVG."""
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot as plt

    criteria = result.criteria
    rows: dict[str, Tally] = {}
    for _, tally in result.mutants:
        for name in tally.named.most_common(1):
            rows.setdefault(name[0], Tally()).add(tally)
    # Ordered by the first criterion that tells them, so that the matrix reads from top left.
    names = sorted(rows, key=lambda n: ([-_rate(rows[n], c) for c in criteria], n))
    shares = np.array([[_rate(rows[name], c) for c in criteria] for name in names])

    style = {"svg.hashsalt": "zoo", "svg.fonttype": "none", "font.size": 9}
    with mpl.rc_context(style):
        size = (2.9 + 0.27 * len(criteria), 2.2 + 0.2 * len(names))
        figure, axes = plt.subplots(figsize=size, layout="constrained")
        image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        axes.set_xticks(range(len(criteria)), criteria, rotation=55, ha="left", va="bottom")
        axes.xaxis.tick_top()
        axes.tick_params(length=0)
        axes.tick_params(axis="x", rotation_mode="anchor")
        axes.set_yticks(range(len(names)), names)
        axes.set_xticks(np.arange(len(criteria) + 1) - 0.5, minor=True)
        axes.set_yticks(np.arange(len(names) + 1) - 0.5, minor=True)
        axes.grid(which="minor", color="0.85", linewidth=0.6)
        axes.tick_params(which="minor", length=0)
        axes.set_ylabel("misconception named first")
        bar = figure.colorbar(image, ax=axes, fraction=0.03, pad=0.01)
        bar.set_label("share of runs in which the criterion failed")
        figure.suptitle(_finding(result), fontsize=11)
        figure.savefig(path, metadata={"Date": None})
        plt.close(figure)


def _rate(tally: Tally, criterion: str) -> float:
    return tally.failed[criterion] / tally.runs


def _finding(result: Result) -> str:
    if result.killed == result.mutant_runs:
        told = f"Each of {len(result.mutants)} wrong implementations failed a criterion"
        return f"{told} in each of {result.mutant_runs:,} runs"
    return f"{result.mutant_runs - result.killed:,} runs of wrong implementations passed"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the campaign, write its report, and return 1 where the judge was wrong once."""
    parser = argparse.ArgumentParser(prog="make zoo", description=__doc__)
    parser.add_argument("--style-seeds", type=_positive, default=_env("STYLE", STYLE_SEEDS))
    parser.add_argument("--mutant-seeds", type=_positive, default=_env("MUTANT", MUTANT_SEEDS))
    parser.add_argument("--workers", type=_positive, default=os.cpu_count() or 1)
    parser.add_argument("--output", type=Path, default=DOCS, help="a folder (default: docs)")
    parser.add_argument("--all-styles", action="store_true", help="also those that differ little")
    options = parser.parse_args(arguments)
    seeds = options.style_seeds, options.mutant_seeds
    result = Result.of(run(*seeds, options.workers, options.all_styles))
    options.output.mkdir(parents=True, exist_ok=True)
    report = markdown(result, options.style_seeds, options.mutant_seeds)
    (options.output / "zoo.md").write_text(report, "utf-8")
    draw(result, options.output / "zoo.svg")
    print(
        f"mutants: {result.killed:,} of {result.mutant_runs:,} runs killed,"
        f" {result.rightly_named:,} named rightly;"
        f" right styles: {result.rejected:,} of {result.style_runs:,} runs rejected"
    )
    for told in mistakes(result):
        print(told)
    return 0 if result.is_proof else 1


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {number}")
    return number


def _env(kind: str, default: int) -> int:
    return _positive(os.environ.get(f"ZOO_{kind}_SEEDS", str(default)))


if __name__ == "__main__":
    sys.exit(main())
