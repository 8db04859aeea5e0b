"""The four places that say what is installed agree: pyproject.toml, constraints.txt,
environment.yml and the Makefile. Reads the files only; nothing is installed or imported."""

from __future__ import annotations

import importlib.metadata
import re
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parent.parent
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
ENVIRONMENT: dict[str, Any] = yaml.safe_load((ROOT / "environment.yml").read_text("utf-8"))

CONDA_NAMES = {"torch": "pytorch-cpu", "matplotlib": "matplotlib-base"}
FILES = (
    "pyproject.toml", "constraints.txt", "environment.yml", "Makefile", ".ci/run", "README.md",
)  # fmt: skip
SYSTEMS = (
    {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix"},
    {"sys_platform": "darwin", "platform_system": "Darwin", "os_name": "posix"},
    {"sys_platform": "win32", "platform_system": "Windows", "os_name": "nt"},
)
PYTHONS = ("3.11", "3.12", "3.13", "3.14")


def requirements(*extras: str) -> list[Requirement]:
    lines = list(PROJECT["dependencies"])
    for extra in extras:
        lines += PROJECT["optional-dependencies"][extra]
    return [Requirement(line) for line in lines]


def pin_lines() -> list[Requirement]:
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def pins() -> dict[str, Version]:
    return {canonicalize_name(pin.name): Version(str(pin.specifier)[2:]) for pin in pin_lines()}


def learner_set() -> dict[str, SpecifierSet]:
    return {canonicalize_name(r.name): r.specifier for r in requirements()}


def conda_requirements() -> dict[str, SpecifierSet]:
    lines = [line for line in ENVIRONMENT["dependencies"] if isinstance(line, str)]
    parsed = [Requirement(line) for line in lines]
    assert len({r.name for r in parsed}) == len(parsed), "environment.yml names a package twice"
    return {canonicalize_name(r.name): r.specifier for r in parsed}


@pytest.mark.parametrize("requirement", requirements("dev", "grade", "test"), ids=str)
def test_every_requirement_is_pinned_within_its_range(requirement: Requirement) -> None:
    pinned = pins().get(canonicalize_name(requirement.name))
    assert pinned is not None, f"constraints.txt does not pin {requirement.name}"
    assert requirement.specifier.contains(pinned), f"{pinned} is outside {requirement}"


def test_every_pin_is_one_exact_public_version() -> None:
    for pin in pin_lines():
        assert re.fullmatch(r"==[0-9][0-9a-z.]*", str(pin.specifier)), f"not an exact pin: {pin}"
        assert pin.marker is None
        assert pin.url is None


def test_no_package_is_pinned_twice() -> None:
    counts = Counter(canonicalize_name(pin.name) for pin in pin_lines())
    assert [name for name, count in counts.items() if count > 1] == []


def test_the_lock_covers_what_any_system_would_install() -> None:
    installed = {
        canonicalize_name(d.metadata["Name"]): d for d in importlib.metadata.distributions()
    }
    needed = {
        canonicalize_name(name)
        for system in SYSTEMS
        for python in PYTHONS
        for name in _closure(installed, {**system, "python_version": python})
    }
    assert needed - pins().keys() == set()


def _closure(
    installed: dict[str, importlib.metadata.Distribution], system: dict[str, str]
) -> Iterator[str]:
    """Yield what the course with every extra needs there, as far as packages are here to ask."""
    marker_environment = {**default_environment(), **system}
    marker_environment["python_full_version"] = system["python_version"] + ".0"
    pending = requirements("dev", "grade", "test")
    seen: set[tuple[str, frozenset[str]]] = set()
    while pending:
        requirement = pending.pop()
        name, extras = canonicalize_name(requirement.name), frozenset(requirement.extras)
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        yield name
        for line in (installed[name].requires or ()) if name in installed else ():
            child = Requirement(line)
            if child.marker is None or any(
                child.marker.evaluate({**marker_environment, "extra": extra})
                for extra in extras | {""}
            ):
                pending.append(child)


def test_every_pinned_package_runs_on_the_oldest_python() -> None:
    too_new = [
        f"{d.metadata['Name']} {d.version} wants Python {d.metadata.get('Requires-Python')}"
        for d in importlib.metadata.distributions()
        if pins().get(canonicalize_name(d.metadata["Name"])) == Version(d.version)
        and not SpecifierSet(d.metadata.get("Requires-Python") or "").contains(f"{PYTHONS[0]}.0")
    ]
    assert too_new == [], "a patch release of Python is asked for: pin an older version"


def test_conda_installs_exactly_the_learner_set() -> None:
    expected = {
        canonicalize_name(CONDA_NAMES.get(name, name)): specifier
        for name, specifier in learner_set().items()
    }
    found = conda_requirements()
    assert found.pop("python") == SpecifierSet(PROJECT["requires-python"])
    assert found.pop("pip") == SpecifierSet()
    assert found == expected


def test_conda_installs_the_package_itself_by_pip_and_nothing_else() -> None:
    parts = [part["pip"] for part in ENVIRONMENT["dependencies"] if isinstance(part, dict)]
    assert parts == [["-e ."]]


def test_a_learner_gets_no_authors_package() -> None:
    learner = learner_set().keys()
    authors = {"nbgrader", "jupytext", "ruff", "mypy", "import-linter", "playwright", "hypothesis"}
    assert learner & authors == set()


def test_the_makefile_accepts_the_pythons_that_the_package_accepts() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    bounds = re.search(r"\((\d+), (\d+)\) <= sys.version_info\[:2\] <= \((\d+), (\d+)\)", makefile)
    assert bounds is not None
    oldest, newest = f"{bounds[1]}.{bounds[2]}", f"{bounds[3]}.{bounds[4]}"
    assert SpecifierSet(PROJECT["requires-python"]) == SpecifierSet(f">={oldest}")
    assert (PYTHONS[0], PYTHONS[-1]) == (oldest, newest)


def test_the_set_up_says_which_torch_it_downloads() -> None:
    assert f"torch {pins()['torch']}" in (ROOT / "Makefile").read_text("utf-8")


@pytest.mark.parametrize("name", FILES)
def test_no_file_names_a_package_host(name: str) -> None:
    text = (ROOT / name).read_text("utf-8")
    hosts = (
        r"pypi\.org|pythonhosted|download\.pytorch|anaconda\.(org|com)|conda\.anaconda|simple/?\b"
    )
    assert re.findall(rf"https?://\S*(?:{hosts})\S*|--extra-index-url|--find-links", text) == []
