"""The pages: evaluation.html of a factor and factors.html of several, that open without a network.

Plotly's JavaScript lies once in the reports folder (`SCRIPT`), the pages name it by a relative path. The only inline
script is `BOOT`, allowed by its hash in the page's policy; numbers come as JSON in data blocks, where ``<`` is escaped.
"""

from __future__ import annotations

import hashlib
import json
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from Backtest.files import write_bytes

from .chart import Chart
from .plotly_figure import figure

SCRIPT = "plotly.min.js"
BOOT = (Path(__file__).parent / "boot.js").read_text(encoding="utf-8")


def render(template: str, **values: Any) -> str:
    """Return a template of this folder as HTML; every value is escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent, encoding="utf-8"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(template).render(boot=safe_markup(BOOT), boot_hash=boot_hash(), **values)


def safe_markup(text: str) -> Any:
    """Return our own text as it is: scripts, and JSON from `data_block`."""
    from markupsafe import Markup

    return Markup(text)


def data_block(value: Any) -> Any:
    """Return JSON for a ``<script type="application/json">`` block: no ``<``, ``>`` or ``&`` stands in it."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return safe_markup(text)


def boot_hash() -> str:
    """Return the hash by which the page's policy allows its one inline script."""
    return "sha256-" + b64encode(hashlib.sha256(BOOT.encode()).digest()).decode()


def drawn(charts: Mapping[str, Chart]) -> list[dict[str, Any]]:
    """Return what the templates need of each chart."""
    return [
        {"name": name, "title": chart.title, "caption": chart.caption, "by_horizon": chart.by_horizon,
         "figure": data_block(figure(chart)), "wide": _is_wide(chart)}
        for name, chart in charts.items()
    ]  # fmt: skip


def _is_wide(chart: Chart) -> bool:
    """Whether a chart takes the page's whole width: months of many symbols, bars over time."""
    columns = max((len(heat.columns) for heat in chart.heats), default=0)
    points = max((len(series.x) for series in chart.series), default=0)
    return columns > 24 or (chart.axis == "label" and points > 12)


def write_script(folder: Path) -> Path:
    """Put plotly's JavaScript into a reports folder unless it lies there already; return its path."""
    from importlib.resources import files

    source = files("plotly").joinpath("package_data").joinpath(SCRIPT)
    target = folder / SCRIPT
    content = source.read_bytes()
    if not target.exists() or target.read_bytes() != content:
        folder.mkdir(parents=True, exist_ok=True)
        write_bytes(target, content)
    return target
