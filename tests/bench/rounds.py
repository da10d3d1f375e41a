"""The rounds: in each, every tool unpacks every corpus once, on a fresh file system.

`python3 tests/bench run` calls it. The tools take turns, so that what else happens on the machine
hits all alike; ratios are of runs of one round.
"""

import dataclasses
import json
import resource
import sys

import corpora
import disk
import machine
import tools
import verifies
from process import Failed
from settings import DIRECTORY, RUNS

RESULTS = DIRECTORY / "results.json"


def measure():
    """Runs all rounds; returns what `report` wants, which is also in RESULTS."""
    built = [corpora.build(name) for name in corpora.chosen()]
    able = [tool for tool in tools.chosen() if tool.is_installed()]
    results = {
        "machine": machine.describe(),
        "runs": RUNS,
        "corpora": [dataclasses.asdict(corpus) for corpus in built],
        "verifies": {tool.name: verifies.find_out(tool) for tool in able if not tool.variant_of},
        "absent": [tool.name for tool in tools.chosen() if not tool.is_installed()],
        # Corpus -> tool -> seconds of each round; None where it failed.
        "seconds": {corpus.name: {} for corpus in built},
    }
    for corpus in built:
        times = results["seconds"][corpus.name]
        fit = [tool for tool in able if tool.is_for(corpus)]
        for number in range(RUNS):
            # Nobody is always first, or always after the same one.
            start = number % len(fit)
            for tool in fit[start:] + fit[:start]:
                times.setdefault(tool.name, []).append(_once(tool, corpus, number))
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    return results


def _once(tool, corpus, number):
    with disk.fresh() as place:
        _warm(corpus)
        before = _processor_time()
        try:
            time = tool.run(corpus, place)
        except Failed as error:
            print(f"{corpus.name}, {tool.name}: {error}", file=sys.stderr)
            return None
        busy = _processor_time() - before
    words = f"round {number + 1}: {tool.name}: {time:.3f} s, {busy:.3f} s of processor time"
    print(f"{corpus.name}, {words}", file=sys.stderr, flush=True)
    return time


def _processor_time():
    """Of all programs that have ended; on a busy machine it tells more than the clock."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _warm(corpus):
    """The inputs are in the page cache: it is not the disk that is measured."""
    for path in (*corpus.blobs(), corpus.archive):
        with open(path, "rb") as file:
            while file.read(1 << 20):
                pass
