"""Step 2: load a store's inputs and say how good they are.

1. `Store.read_inputs`: every byte verified.
2. `qc.quality`: coverage, gaps, stale prices, outliers, volume, per symbol and month.
3. `qc.violations`: what lies above the thresholds of the settings; the command exits with 1.
4. `content`: all of it as JSON, ``qc.json``; with ``--report html`` `qc_page.page` as well.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import numpy as np

from Backtest import files
from Backtest.logs import LOGGER
from Backtest.settings import CoreSettings

from .layout import RunLayout
from .qc import CHECKS, Quality, Violation, quality, violations
from .store import Store

Report = Literal["json", "html"]


def load(core: CoreSettings, layout: RunLayout, store: Store, *, report: Report = "json") -> dict[str, Any]:
    """Run Step 2 and return what the command prints; the caller holds the run's lock."""
    panel = store.read_inputs().panel
    found = quality(panel, core)
    above = list(violations(found, core, layout.timeframe.ns))
    facts = content(layout, store, core, found, above)
    folder = layout.reports(store.name)
    folder.mkdir(parents=True, exist_ok=True)
    written = [folder / "qc.json"]
    files.write_json(written[0], facts)
    if report == "html":
        from .qc_page import page

        written.append(folder / "qc.html")
        files.write_text(written[1], page(facts))
    for one in above:
        LOGGER.warning("%s", one)
    return {
        "status": "failed" if above else "ok",
        "run_id": layout.run_id,
        "bar_freq": layout.bar_freq,
        "store": store.name,
        "symbols": list(panel.symbols),
        "rows": int(panel.exists.sum()),
        "coverage": facts["coverage"],
        "violations": facts["violations"],
        "files": [str(Path(path)) for path in written],
    }


def content(
    layout: RunLayout, store: Store, core: CoreSettings, found: Quality, above: list[Violation]
) -> dict[str, Any]:
    """Return the report's content as plain values."""
    expected, present = int(found.expected.sum()), int(found.present.sum())
    limits = ("qc_max_missing", "qc_max_gap", *(check.limit for check in CHECKS))
    return {
        "run_id": layout.run_id,
        "bar_freq": layout.bar_freq,
        "store": store.name,
        "coverage": present / expected if expected else None,
        "thresholds": {name: getattr(core, name) for name in limits},
        "checks": {check.name: check.words.format_map(asdict(core)) for check in CHECKS},
        "months": list(found.months),
        "symbols": {symbol: _symbol(found, column) for column, symbol in enumerate(found.symbols)},
        "violations": [
            {"symbol": one.symbol, "check": one.check, "value": one.value, "limit": one.limit} for one in above
        ],
    }


def _symbol(found: Quality, column: int) -> dict[str, Any]:
    expected, present = int(found.expected[:, column].sum()), int(found.present[:, column].sum())
    return {
        "bars": present,
        "expected": expected,
        "coverage": present / expected if expected else None,
        "gaps": int(found.gaps[column]),
        "longest_gap": int(found.longest_gap[column]),
        **{name: int(counts[:, column].sum()) for name, counts in found.counts.items()},
        "monthly": {
            "coverage": [None if np.isnan(one) else float(one) for one in found.coverage[:, column]],
            "bars": found.present[:, column].tolist(),
            **{name: counts[:, column].tolist() for name, counts in found.counts.items()},
        },
    }
