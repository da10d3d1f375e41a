"""The trees that the corpora are made of, fetched with each registry's own client.

`corpora` calls it. A tree is fetched once: it is there when its directory is, so another one put
in that place is taken as it is.
"""

import math
import os
import shutil
import subprocess
import zipfile

from settings import DIRECTORY, EPOCH, SCALE

TREES = DIRECTORY / "trees"

# What a machine to build on has.
DEBIAN = """build-essential perl python3-dev git cmake gdb python3-pip python3-numpy gfortran clang
    libboost-dev libssl-dev libicu-dev""".split()

# Popular ones, with what they need themselves: many small files.
NPM = """typescript react react-dom webpack eslint next lodash date-fns rxjs antd three core-js
    moment googleapis aws-sdk firebase @mui/material @mui/icons-material vue jest""".split()
NPM_DAY = "2025-06-01"

# Those with the largest shared libraries: few huge files.
PYPI = """jaxlib==0.6.1 deltalake==1.0.2 polars==1.30.0 pyarrow==20.0.0 llvmlite==0.44.0
    opencv-python-headless==4.11.0.86 scipy==1.15.3 duckdb==1.3.0 onnxruntime==1.22.0 numpy==2.2.6
    pandas==2.2.3""".split()
PYTHON = "3.11"


def fetch(name):
    """The directory of a tree, fetched if it is not there."""
    tree = TREES / name
    if not tree.exists():
        TREES.mkdir(parents=True, exist_ok=True)
        partial = TREES / f"{name}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        _FETCHERS[name](partial)
        partial.rename(tree)
    return tree


def _some(packages):
    return packages[: max(1, math.ceil(len(packages) * SCALE))]


def _run(*command, **options):
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, **options)


def _debootstrap(tree, packages):
    include = [f"--include={','.join(packages)}"] if packages else []
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(EPOCH)}
    command = ["mmdebstrap", "--quiet", "--variant=minbase", "--format=directory", *include]
    _run(*command, "bookworm", tree, env=environment)


def _minbase(tree):
    _debootstrap(tree, [])


def _dev(tree):
    _debootstrap(tree, _some(DEBIAN))


def _node(tree):
    app = tree / "app"
    app.mkdir(parents=True)
    (app / "package.json").write_text("{}\n")
    # What was published by a day, so that another day gives the same tree; no package runs code.
    options = ["--ignore-scripts", "--no-audit", "--no-fund", "--legacy-peer-deps"]
    command = ["npm", "install", *options, "--cache", tree / "cache", f"--before={NPM_DAY}"]
    _run(*command, *_some(NPM), cwd=app)
    shutil.rmtree(tree / "cache")


def _wheels(tree):
    site = tree / f"usr/local/lib/python{PYTHON}/site-packages"
    site.mkdir(parents=True)
    files = tree / "files"
    tags = ("2014", "_2_17", "_2_24", "_2_27", "_2_28")
    platforms = [f"--platform=manylinux{tag}_x86_64" for tag in tags]
    command = ["pip3", "download", "--quiet", "--no-deps", "--only-binary=:all:", *platforms]
    _run(*command, f"--python-version={PYTHON}", "--dest", files, *_some(PYPI))
    for wheel in sorted(files.iterdir()):
        zipfile.ZipFile(wheel).extractall(site)
    shutil.rmtree(files)


_FETCHERS = {"minbase": _minbase, "dev": _dev, "node": _node, "wheels": _wheels}
