"""Draws the medians as bars, in SVG: one group for each corpus, readable in light and in dark.

`report` calls it. No script and no font of its own.
"""

import html
import statistics

from tools import SYNCED

_WIDTH, _LABEL, _BAR, _PITCH, _GAP = 800, 240, 14, 19, 40
# One set of colours that reads on white and on black: an image cannot know what page it is on.
_STYLE = """
text { font: 12px system-ui, sans-serif; fill: #737a82; }
.corpus { font-weight: 600; font-size: 13px; }
.bar { fill: #8c959f; } .ours { fill: #2f81f7; }
"""


def draw(summary):
    """The picture as text."""
    parts, height = [], 8
    for corpus in summary.corpora:
        group, height = _group(summary, corpus, height)
        parts += group
    title = "Seconds to unpack each corpus; less is better"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img">\n'
        f"<title>{title}</title>\n<style>{_STYLE}</style>\n" + "\n".join(parts) + "\n</svg>\n"
    )


def _group(summary, corpus, top):
    """The bars of one corpus from `top` on, and where the next group begins."""
    tools = [tool for tool in summary.tools if summary.times(corpus, tool)]
    medians = {
        tool: statistics.median(summary.times(corpus, tool))
        for tool in tools
        if not tool.endswith(SYNCED)
    }
    parts = [_text(0, top + 12, corpus, ' class="corpus"')]
    scale = (_WIDTH - _LABEL - 110) / max(medians.values(), default=1)
    y = top + 22
    for tool, median in medians.items():
        kind = "ours" if tool in summary.results["machine"]["builds"] else "bar"
        width = max(1, median * scale)
        place = f'x="{_LABEL}" y="{y}" width="{width:.1f}" height="{_BAR}"'
        ratio = summary.ratio(corpus, tool)
        times = f" ({ratio:.1f} ×)" if ratio and tool != summary.ours else ""
        parts += [
            _text(_LABEL - 8, y + 11, tool, ' text-anchor="end"'),
            f'<rect class="{kind}" {place} rx="2"/>',
            _text(_LABEL + width + 6, y + 11, f"{median:.2f} s{times}"),
        ]
        y += _PITCH
    return parts, y + _GAP - _PITCH


def _text(x, y, words, attributes=""):
    return f'<text x="{x:.1f}" y="{y}"{attributes}>{html.escape(words)}</text>'
