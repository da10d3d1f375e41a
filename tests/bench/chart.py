"""Draws, in SVG, how long each tool takes for all corpora together: one line a tool, readable in light and in dark.

`report` calls it. No script and no font of its own.
"""

import html
import statistics

from tools import SYNCED

_WIDTH, _LABEL, _BAR, _PITCH, _TOP = 800, 250, 16, 26, 36
_SYNCED = f", {SYNCED}"
# One set of colours that reads on white and on black: an image cannot know what page it is on.
_STYLE = """
text { font: 13px system-ui, sans-serif; fill: #737a82; }
.title { font-weight: 600; }
.bar { fill: #8c959f; } .ours { fill: #2f81f7; }
"""


def draw(summary):
    """The picture as text: of tools that were run on every corpus, by their medians."""
    totals = {}
    for tool in summary.tools:
        times = [summary.times(corpus, tool) for corpus in summary.corpora]
        if all(times):
            totals[tool] = sum(statistics.median(of_corpus) for of_corpus in times)
    builds = summary.results["machine"]["builds"]
    ours = {tool for tool in totals if tool.removesuffix(_SYNCED) in builds}
    return draw_totals(totals, ours)


def draw_totals(totals, ours):
    """The picture of seconds by tool; `ours` are drawn in another colour."""
    parts = [_text(0, 16, "Seconds to unpack five images, 5.5 GB in all; only the line “on disk” waits for the disk", ' class="title"')]
    scale = (_WIDTH - _LABEL - 120) / max(totals.values(), default=1)
    least = min(totals.values(), default=1)
    y = _TOP
    for tool, seconds in sorted(totals.items(), key=lambda item: item[1]):
        kind = "ours" if tool in ours else "bar"
        label = tool
        if tool in ours:
            label = f"{tool.removesuffix(_SYNCED)}, on disk" if tool.endswith(_SYNCED) else f"{tool} --sync=none"
        width = max(1, seconds * scale)
        place = f'x="{_LABEL}" y="{y}" width="{width:.1f}" height="{_BAR}"'
        times = "" if seconds == least else f" ({seconds / least:.1f} ×)"
        parts += [
            _text(_LABEL - 10, y + 13, label, ' text-anchor="end"'),
            f'<rect class="{kind}" {place} rx="2"/>',
            _text(_LABEL + width + 8, y + 13, f"{seconds:.0f} s{times}"),
        ]
        y += _PITCH
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {y}" width="{_WIDTH}" height="{y}" role="img">\n'
        f"<title>Seconds to unpack all corpora; less is better</title>\n<style>{_STYLE}</style>\n"
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def _text(x, y, words, attributes=""):
    return f'<text x="{x:.1f}" y="{y}"{attributes}>{html.escape(words)}</text>'
