"""Single figures of ours, each beside what it must be: what `make bench-micro` prints last.

`python3 tests/bench micro` calls it. The layers here are made of small files by number; SCALE makes
them smaller.
"""

import dataclasses
import functools
import json
import os
import pathlib
import statistics
import subprocess
import tempfile

import corpora
import disk
import layout
import report
import rounds
from layer import Layer
from process import run, seconds
from settings import DIRECTORY, PROJECT, SCALE, builds
from tools import PAIR

MIB = 1 << 20
_CONTENTS = b"a small file\n" * 8
_FILES_IN_DIRECTORY = 100
_SMALL, _LARGE = 100_000, 1_000_000
# How many times as long as ours GNU tar with gzip is to take.
_TIMES_GZIP = {"minbase": 2.3, "dev": 2.7, "node": 2.3, "wheels": 2.2, "twelve": 3.1}


@dataclasses.dataclass
class Figure:
    """One line: what was measured, and what it may be at most or must be at least, if anything."""

    name: str
    value: float
    unit: str
    most: float | None = None
    least: float | None = None

    def cells(self):
        digits = ",.0f" if abs(self.value) >= 100 else ".3g"
        return [self.name, self._with_unit(f"{self.value:{digits}}"), *self._target()]

    def _target(self):
        if self.most is not None:
            return self._with_unit(f"≤ {self.most:g}"), _verdict(self.value <= self.most)
        if self.least is not None:
            return self._with_unit(f"≥ {self.least:g}"), _verdict(self.value >= self.least)
        return "", ""

    def _with_unit(self, number):
        return f"{number} {self.unit}".strip()


def _verdict(is_met):
    return "met" if is_met else "**missed**"


def measure():
    """Prints all figures as a Markdown table."""
    print("| figure | measured | target | |\n|---|---|---|---|")
    for group in (_calls, _user_time, _memory, _growth, _second_time, _settling, _ratios):
        for figure in group():
            print(f"| {' | '.join(figure.cells())} |", flush=True)


def _calls():
    few, many = 1, 1 + _count(10_000)
    calls = [_system_calls(_small_files(count)) for count in (few, many)]
    yield Figure("system calls a small file", (calls[1] - calls[0]) / (many - few), "", most=4.5)


def _system_calls(image):
    with disk.fresh() as place:
        table = place / "calls"
        run("strace", "-f", "-c", "-o", table, *_unpack(image, place))
        total = table.read_text().splitlines()[-1].split()
    # % time, seconds, usecs/call, calls, and errors where there were any.
    return int(total[3])


def _user_time():
    image, count = _small_files(_count(_SMALL)), _count(_SMALL)
    decode = [_phases(), "decode", _reference(image)]
    alone = min(_usage(decode).ru_utime for _ in range(3))
    whole = min(_unpacked(image).ru_utime for _ in range(3))
    nanoseconds = (whole - alone) / count * 1e9
    yield Figure("user time an entry beyond inflating and hashing", nanoseconds, "ns", most=800)


def _memory():
    small, large = _count(_SMALL), _count(_LARGE)
    peaks = [_unpacked(_small_files(count)).ru_maxrss / 1024 for count in (small, large)]
    yield Figure(f"peak memory, {small:,} entries", peaks[0], "MiB", most=64)
    beyond = (peaks[1] - peaks[0]) * MIB / (large - small)
    yield Figure(f"peak memory an entry, from there to {large:,}", beyond, "bytes", most=150)


def _growth():
    counts = [_count(10**power) for power in (3, 4, 5, 6)]
    each = {}
    for count in counts:
        image = _small_files(count)
        time = min(_wall(image) for _ in range(1 if count > _SMALL else 3))
        each[count] = time / count * 1e6
        yield Figure(f"an entry of {count:,}", each[count], "µs")
    # The first thousand pays for the start of the program.
    ratio = each[counts[3]] / each[counts[1]]
    yield Figure(f"an entry of {counts[3]:,} over one of {counts[1]:,}", ratio, "×", most=1.25)


def _second_time():
    corpus = corpora.build("minbase")
    with disk.fresh() as place:
        command = _unpack(corpus.layout, place)
        run(*command)
        again = statistics.median(seconds(lambda: run(*command)) for _ in range(11))
    yield Figure("`unpack` of an image that is there", again * 1e3, "ms", most=10)


def _settling():
    corpus = corpora.build("twelve")
    with disk.fresh() as place:
        times = json.loads(run(_phases(), "settle", _reference(corpus.layout), place / "layers"))
    share = times["settle"] / (times["unpack"] + times["settle"]) * 100
    yield Figure(
        f"settling {corpus.layers} layers, part of the time on one core", share, "%", most=3
    )


def _ratios():
    """Those of the last `make bench`, where there was one."""
    if not rounds.RESULTS.exists():
        return
    summary = report.Summary(json.loads(rounds.RESULTS.read_text()))
    for corpus, described in summary.corpora.items():
        igzip = "tar + igzip" + (f", {PAIR}" if described["layers"] > 1 else "")
        for tool, least in (("tar + gzip", _TIMES_GZIP[corpus]), (igzip, 1)):
            ratio = summary.ratio(corpus, tool)
            if ratio is not None:
                yield Figure(f"{corpus}: {tool}, as long as ours", ratio, "×", least=least)


def _count(whole):
    return max(1, int(whole * SCALE))


def _small_files(count):
    """The layout of an image with one layer of so many small files, made once."""
    final = DIRECTORY / f"small-{count}"
    if not final.exists():
        place = pathlib.Path(tempfile.mkdtemp(prefix="small-", dir=DIRECTORY))
        (place / "blobs" / "sha256").mkdir(parents=True)
        with Layer(place / "layer") as layer:
            for number in range(count):
                directory = f"directory-{number // _FILES_IN_DIRECTORY}"
                layer.file(f"usr/share/{directory}/file-{number}", _CONTENTS)
        digest = layout.digest_of(layer.path)
        layer.path.rename(layout.blob(place, digest))
        layout.write(place, [(digest, layer.diff_id())])
        place.rename(final)
    return final


def _reference(image):
    return f"oci:{image}:{layout.TAG}"


def _unpack(image, place):
    _, program = builds()[0]
    return [program, "--store", place / "store", "-q", "unpack", "--sync=none", _reference(image)]


def _wall(image):
    with disk.fresh() as place:
        return seconds(lambda: run(*_unpack(image, place)))


def _unpacked(image):
    with disk.fresh() as place:
        return _usage(_unpack(image, place))


def _usage(command):
    """What one program took, as getrusage(2) counts it."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        raise SystemExit(f"{command}: wait status {status}")
    return usage


@functools.cache
def _phases():
    """The program of `phases.rs`, built if need be."""
    command = ["cargo", "bench", "--quiet", "--locked", "--bench", "phases", "--no-run"]
    command += ["--message-format=json"]
    said = subprocess.run(command, cwd=PROJECT, check=True, stdout=subprocess.PIPE).stdout
    messages = [json.loads(line) for line in said.splitlines()]
    built = [message for message in messages if message.get("executable")]
    programs = {message["target"]["name"]: message["executable"] for message in built}
    return programs["phases"]
