"""The quality report as one HTML file that opens offline: a coverage heat map and a table. Every name is escaped."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

TEMPLATE = Path(__file__).with_name("qc.html.j2")

WORST, HALF, BEST = (178, 24, 43), (253, 219, 199), (33, 102, 172)
"""Colours of coverage 0, 0.9 and 1: a few missing bars must show, and red against blue is told apart by everyone."""
HALF_AT = 0.9


def page(facts: Mapping[str, Any]) -> str:
    """Return the page for what `load.content` made."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(colour=colour, ink=ink, percent=percent)
    above: dict[str, set[str]] = {}
    for one in facts["violations"]:
        above.setdefault(one["symbol"], set()).add(one["check"])
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(facts=facts, above=above)


def colour(share: float | None) -> str:
    """Return the colour of a coverage; grey where no bar is expected."""
    if share is None:
        return "#eeeeee"
    low, high, place = (
        (WORST, HALF, share / HALF_AT) if share < HALF_AT else (HALF, BEST, (share - HALF_AT) / (1 - HALF_AT))
    )
    return "#" + "".join(f"{round(a + (b - a) * place):02x}" for a, b in zip(low, high, strict=True))


def ink(share: float | None) -> str:
    """Return a colour of text that reads on `colour`."""
    return "#ffffff" if share is not None and (share < 0.5 or share > 0.97) else "#222222"


def percent(share: float | None) -> str:
    """Return a share in words: never 100 % when something is missing."""
    if share is None:
        return ""
    return "100" if share == 1 else f"{min(share * 100, 99.99):.4g}"
