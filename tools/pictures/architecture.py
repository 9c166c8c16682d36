"""The picture of how a conversion travels, drawn from the two tables below."""

from __future__ import annotations

from html import escape

BOXES = {
    "your code": (20, 110, "submit(conversion)"),
    "dispatcher": (230, 110, "groups calls"),
    "outbox": (440, 110, "memory, file, PostgreSQL"),
    'lane "anytrack"': (650, 20, "one request each"),
    'lane "meta"': (650, 110, "up to 1,000"),
    'lane "hubspot"': (650, 200, "up to 100"),
    "AnyTrack": (860, 20, ""),
    "Meta": (860, 110, ""),
    "HubSpot": (860, 200, ""),
}
"""Title → left and upper edge, and what stands below the title."""

ARROWS = [
    ("your code", "dispatcher"),
    ("dispatcher", "outbox"),
    ("outbox", 'lane "anytrack"'),
    ("outbox", 'lane "meta"'),
    ("outbox", 'lane "hubspot"'),
    ('lane "anytrack"', "AnyTrack"),
    ('lane "meta"', "Meta"),
    ('lane "hubspot"', "HubSpot"),
]

_WIDTH, _HEIGHT = 160, 60

_PAGE = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1040 320" role="img" \
font-family="system-ui, sans-serif" font-size="15">
<title>How a conversion travels</title>
<style>
.box {{ fill: #f4f6fb; stroke: #5566aa; }}
.arrow {{ stroke: #5566aa; stroke-width: 1.5; fill: none; }}
.small {{ font-size: 12px; }}
text {{ fill: #223; text-anchor: middle; }}
@media (prefers-color-scheme: dark) {{
.box {{ fill: #23283a; stroke: #99a8e8; }}
.arrow {{ stroke: #99a8e8; }}
text {{ fill: #e6e8f0; }}
}}
</style>
<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" \
orient="auto"><path class="arrow" d="M0 0 L8 4 L0 8"/></marker></defs>
{content}
<path class="arrow" marker-end="url(#tip)" d="M730 270 V295 H520 V175"/>
<text class="small" x="625" y="312">delivered, to be retried, or a dead letter</text>
</svg>
"""


def svg() -> str:
    """Return the picture."""
    return _PAGE.format(content="\n".join([*map(_arrow, ARROWS), *map(_box, BOXES)]))


def _box(title: str) -> str:
    left, top, text = BOXES[title]
    middle = left + _WIDTH // 2
    lines = f'<text x="{middle}" y="{top + (26 if text else 35)}">{escape(title)}</text>'
    if text:
        lines += f'<text class="small" x="{middle}" y="{top + 45}">{escape(text)}</text>'
    box = f'x="{left}" y="{top}" width="{_WIDTH}" height="{_HEIGHT}"'
    return f'<rect class="box" rx="6" {box}/>{lines}'


def _arrow(ends: tuple[str, str]) -> str:
    (left, top, _), (right, bottom, _) = BOXES[ends[0]], BOXES[ends[1]]
    start = f"M{left + _WIDTH} {top + _HEIGHT // 2}"
    return f'<path class="arrow" marker-end="url(#tip)" d="{start} L{right} {bottom + 30}"/>'
