"""Makes Markdown of the results, and puts it and the chart into docs/benchmarks.md where that is asked for.

`python3 tests/bench run` calls it after the rounds; `... report` calls it again for the last ones.
"""

import statistics

import chart
from settings import HERE, PROJECT
from tools import SYNCED

BEGIN, END = "<!-- make bench: begin -->", "<!-- make bench: end -->"
CHART = HERE / "speed.svg"


class Summary:
    """The results with their medians and ratios; `ours` is the first build."""

    def __init__(self, results):
        self.results = results
        self.corpora = {corpus["name"]: corpus for corpus in results["corpora"]}
        self.ours = next(iter(results["machine"]["builds"]))
        seconds = results["seconds"].values()
        # In the order of the tools, though each corpus lacks some.
        longest = max(seconds, key=len, default={})
        self.tools = list(dict.fromkeys([*longest, *(name for times in seconds for name in times)]))

    def times(self, corpus, tool):
        """The seconds of the rounds that ended well."""
        return [time for time in self._rounds(corpus, tool) if time is not None]

    def ratio(self, corpus, tool):
        """How many times as long as ours, the median of each round's ratio; None if unknown."""
        pairs = zip(self._rounds(corpus, tool), self._rounds(corpus, self.ours))
        ratios = [other / ours for other, ours in pairs if other and ours]
        return statistics.median(ratios) if ratios else None

    def _rounds(self, corpus, tool):
        return self.results["seconds"][corpus].get(tool, [])


def markdown(summary):
    """The block between the two marks of the page."""
    parts = [
        _heading(summary),
        f"As a chart: `{CHART.relative_to(PROJECT)}`.",
        _table(summary),
        _synced(summary),
        _corpora(summary),
        _absent(summary),
    ]
    return "\n\n".join(part for part in parts if part)


def publish(summary):
    """Writes the chart, and the block into docs/benchmarks.md. Fails where the marks are not."""
    CHART.write_text(chart.draw(summary))
    readme = PROJECT / "docs/benchmarks.md"
    before, begin, rest = readme.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise SystemExit(f"docs/benchmarks.md has no place for the figures: {BEGIN} and {END}")
    readme.write_text(f"{before}{BEGIN}\n{markdown(summary)}\n{END}{after}")


def _heading(summary):
    machine = summary.results["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    builds = ", ".join(f"{name} {version}" for name, version in machine["builds"].items())
    return (
        f"{machine['date']}: {machine['cpu']}, {machine['cores']} cores,"
        f" {machine['memory'] / 2**30:.0f} GiB, Linux {machine['kernel']}, {machine['disk']};"
        f" {builds}; {versions}. Seconds: median (least – most) of {summary.results['runs']} runs,"
        f" and how many times as long as `{summary.ours}` in the same round."
    )


def _table(summary):
    lines = [["", *summary.corpora, "verifies"]]
    for tool in summary.tools:
        if not tool.endswith(SYNCED):
            cells = [_cell(summary, corpus, tool) for corpus in summary.corpora]
            lines.append([tool, *cells, summary.results["verifies"].get(tool) or ""])
    return _rows(lines)


def _cell(summary, corpus, tool):
    times = summary.times(corpus, tool)
    if not times:
        return "failed" if tool in summary.results["seconds"][corpus] else "–"
    text = f"{statistics.median(times):.2f} ({min(times):.2f} – {max(times):.2f})"
    ratio = summary.ratio(corpus, tool)
    return text if tool == summary.ours or ratio is None else f"{text} **{ratio:.1f} ×**"


def _synced(summary):
    """What the one syncfs adds: the difference of the two medians."""
    tool = f"{summary.ours}, {SYNCED}"
    costs = []
    for corpus in summary.corpora:
        with_sync, without = summary.times(corpus, tool), summary.times(corpus, summary.ours)
        if with_sync and without:
            more = statistics.median(with_sync) - statistics.median(without)
            costs.append(f"{corpus} {more:.2f} s")
    return (
        f"Waiting for the disk (`--sync=fs`, the default) adds: {', '.join(costs)}."
        if costs
        else ""
    )


def _corpora(summary):
    lines = [["corpus", "layers", "entries", "deletions", "MB", "MB compressed"]]
    for name, corpus in summary.corpora.items():
        sizes = [f"{corpus[key] / 1e6:,.0f}" for key in ("uncompressed", "compressed")]
        counts = [f"{corpus[key]:,}" for key in ("layers", "entries", "deletions")]
        lines.append([name, *counts, *sizes])
    return _rows(lines)


def _absent(summary):
    absent = summary.results["absent"]
    return f"Not installed: {', '.join(absent)}." if absent else ""


def _rows(lines):
    head, *body = ["| " + " | ".join(cells) + " |" for cells in lines]
    return "\n".join([head, "|---" * len(lines[0]) + "|", *body])
