"""What `make bench` and `make bench-micro` run: `python3 tests/bench build|run|report|micro|costs|pulls`.

The environment says the rest: what `settings` reads, and README=1 to put the report in its place.
"""

import json
import os
import signal
import sys

import corpora
import costs
import figures
import pulls
import report
import rounds


def build():
    """The corpora, a line for each."""
    for name in corpora.chosen():
        corpus = corpora.build(name)
        print(
            f"{name}: {corpus.layers} layers, {corpus.entries} entries,"
            f" {corpus.deletions} deletions, {corpus.uncompressed / 1e6:.0f} MB,"
            f" {corpus.compressed / 1e6:.0f} MB compressed:"
            f" {corpus.layout}",
            flush=True,
        )


def run():
    """The corpora where they are not there, all rounds, the report."""
    show(rounds.measure())


def show_last():
    """The report of the last rounds once more."""
    show(json.loads(rounds.RESULTS.read_text()))


def show(results):
    summary = report.Summary(results)
    print(report.markdown(summary))
    if os.environ.get("README") == "1":
        report.publish(summary)


def start():
    """As a login starts it: what is ignored here would be ignored by every program that runs."""
    usual = {signal.SIGPIPE, signal.SIGXFSZ}
    for number in signal.valid_signals() - usual:
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    os.umask(0o022)
    for name in ("LOWERDIR_STORE", "SOURCE_DATE_EPOCH", "TAR_OPTIONS"):
        os.environ.pop(name, None)
    os.environ["LC_ALL"] = "C.UTF-8"


VERBS = {
    "build": build,
    "run": run,
    "report": show_last,
    "micro": figures.measure,
    "costs": costs.measure,
    "pulls": pulls.measure,
}

if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in VERBS:
        sys.exit(f"usage: {sys.argv[0]} {'|'.join(VERBS)}")
    if sys.argv[1] in ("run", "micro", "costs", "pulls") and os.geteuid() != 0:
        sys.exit("the benchmark mounts file systems: run it as root")
    start()
    VERBS[sys.argv[1]]()
