"""On which machine, when, with which versions: a figure without them is worth nothing."""

import datetime
import os
import platform
import re
import shutil

from process import Failed, run
from settings import DIRECTORY, builds

_PROGRAMS = ("tar", "gzip", "pigz", "igzip", "bsdtar", "containerd", "skopeo", "umoci")


def describe():
    """Everything that the report says of the machine."""
    return {
        "date": datetime.date.today().isoformat(),
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)),
        "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "kernel": platform.release(),
        "disk": _disk(),
        "versions": {name: _version(name) for name in _PROGRAMS if shutil.which(name)},
        "builds": {name: _version(path) for name, path in builds()},
    }


def _cpu():
    with open("/proc/cpuinfo") as file:
        found = re.search(r"^model name\s*:\s*(.*)", file.read(), re.MULTILINE)
    return found[1] if found else platform.machine()


def _disk():
    """What the scratch disk's file lies on."""
    try:
        return " ".join(run("findmnt", "-n", "-o", "FSTYPE,SOURCE", "-T", DIRECTORY).split())
    except (Failed, FileNotFoundError):
        return "unknown"


def _version(program):
    try:
        found = re.search(r"\d+(\.\d+)+\S*", run(program, "--version"))
    except (Failed, FileNotFoundError):
        return "not there"
    return found[0] if found else "unknown"
