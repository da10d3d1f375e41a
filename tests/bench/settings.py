"""What the environment says: where the corpora are, how large, how many rounds.

Read by every other file here; it does nothing by itself.
"""

import os
import pathlib

HERE = pathlib.Path(__file__).resolve().parent
PROJECT = HERE.parent.parent

# One number for all times in the corpora, and for Debian's tools: two builds give the same layers.
EPOCH = 1_700_000_000


def _path(name, default):
    return pathlib.Path(os.environ.get(name) or default).resolve()


def _list(name):
    return [word.strip() for word in os.environ.get(name, "").split(",") if word.strip()]


# Where the corpora, the scratch disk and the results are.
DIRECTORY = _path("BENCH_DIR", PROJECT / "target" / "bench")
# The part of each package list that is taken: 1 for the published figures, less for a quick run.
SCALE = float(os.environ.get("SCALE") or 1)
# Rounds; every tool runs once in each.
RUNS = int(os.environ.get("RUNS") or 5)
# Only these corpora, and the tools whose names begin so; all where nothing is said. With commas.
CORPORA = _list("CORPORA")
TOOLS = _list("TOOLS")
# Only those rows of the table of costs whose names hold one of these.
SHAPES = _list("SHAPES")
# Builds of ours to compare: PATH or NAME=PATH; the first is the one that ratios are of.
BUILDS = _list("LOWERDIR") or [str(PROJECT / "target" / "release" / "lowerdir")]


def builds():
    """The builds of ours as (name, path)."""
    pairs = [word.rpartition("=") for word in BUILDS]
    return [(name or "lowerdir", str(pathlib.Path(path).resolve())) for name, _, path in pairs]
