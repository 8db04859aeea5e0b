# Two commands: `make lab` to learn, `make test` to test. Paths are relative, so that spaces in the
# path of the clone do no harm; GNU make 3.81 (macOS) is enough.
PYTHON ?= python3
# TORCH_INDEX: address of a package index to take torch from, e.g. the one of its CPU builds.
TORCH_INDEX ?=

BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
LEARNER := .venv/learner.stamp
AUTHOR := .venv/author.stamp

.PHONY: lab test lint build bench zoo

lab: $(LEARNER)
	@$(BIN)/dropout-course lab

test: lint
	$(BIN)/pytest -n logical --dist loadscope --timeout 300 --timeout-method thread --nbval --nbval-current-env

lint: $(AUTHOR)
	$(BIN)/ruff check && $(BIN)/ruff format --check && $(BIN)/mypy && $(BIN)/lint-imports

build: $(AUTHOR)
	$(BIN)/dropout-course build

bench: $(AUTHOR)
	$(BIN)/pytest tests/benchmarks --benchmark-only

zoo: $(AUTHOR)
	$(BIN)/python -m tests.zoo.campaign

# Which Python an environment was made from; one of another Python, or half made, is made anew.
ORIGIN := import sys; print(sys.base_prefix, sys.version)

# The stamps are written last: an interrupted installation is taken up again by the next command.
$(LEARNER): constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' || { echo "The course runs on Python 3.11 to 3.14, and \`$(PYTHON)\` is not one of them. Name one: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, ssl, venv' 2>/dev/null || { echo "\`$(PYTHON)\` cannot make environments: it lacks venv or ssl. On Debian and Ubuntu: apt install python3-venv. Then run make again." >&2; exit 1; }
	@echo "About to download into .venv: about 130 packages (145 MB) and torch 2.13.0 (macOS 110 MB; Linux 2.7 GB with its CUDA libraries, or 190 MB as the CPU build: README, Set-up)."
	@test "$$(.venv/bin/python -c 'import pip; $(ORIGIN)' 2>/dev/null)" = "$$($(PYTHON) -c '$(ORIGIN)')" || $(PYTHON) -m venv --clear .venv
	$(if $(TORCH_INDEX),$(PIP) install --no-deps --constraint constraints.txt --index-url "$(TORCH_INDEX)" torch)
	$(PIP) install --constraint constraints.txt --editable .
	@touch $@

$(AUTHOR): $(LEARNER)
	@echo "About to download into .venv, for tests and authoring: about 45 packages (130 MB)."
	$(PIP) install --constraint constraints.txt --editable '.[test,dev,grade]'
	@touch $@
