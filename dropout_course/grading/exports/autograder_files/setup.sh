#!/usr/bin/env bash
# Gradescope runs this once, as root, while it builds the autograder's image (Ubuntu 22.04 or newer).
set -euo pipefail

# Address of a package index to take torch from, e.g. the one of its CPU builds: without it, pip
# brings the CUDA build, 2.7 GB that a grader has no use for.
TORCH_INDEX="${TORCH_INDEX:-}"
SOURCE="${AUTOGRADER_ROOT:-/autograder}/source"
VENV="$SOURCE/.venv"

PYTHON=
for name in python3.14 python3.13 python3.12 python3.11; do
    if ! command -v "$name" >/dev/null; then
        apt-get install -y -qq --no-install-recommends "$name" "$name-venv" >/dev/null 2>&1 || continue
    fi
    if "$name" -c 'import ensurepip, venv' 2>/dev/null; then
        PYTHON=$name
        break
    fi
done
if [ -z "$PYTHON" ]; then
    echo "No Python from 3.11 to 3.14 with venv could be installed: choose a newer Ubuntu image." >&2
    exit 1
fi
# Where the container allows it, each submission is shut in once more.
command -v bwrap >/dev/null || apt-get install -y -qq --no-install-recommends bubblewrap >/dev/null || true

"$PYTHON" -m venv "$VENV"
pip() { "$VENV/bin/python" -m pip --disable-pip-version-check install --quiet --no-cache-dir "$@"; }
if [ -n "$TORCH_INDEX" ]; then
    pip --no-deps --constraint "$SOURCE/course/constraints.txt" --index-url "$TORCH_INDEX" torch
fi
pip --constraint "$SOURCE/course/constraints.txt" --editable "$SOURCE/course"
