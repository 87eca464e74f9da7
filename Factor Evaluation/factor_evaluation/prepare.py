"""Step 0: klines in, normalised inputs, labels and golden samples out, each with its hash in the manifest.

1. `open_request`: the run's folder, horizons, symbols; every error of the command line's is found here.
2. `klines.load_bars`: each symbol's bars, by Stage A's reader.
3. `planned`: the manifest of what is read; ``--mode plan`` writes it and ends here.
4. `make_inputs`: bars on one clock, forward returns.
5. `write_all`: inputs and labels through the store, golden samples, the manifest last.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from Backtest import files
from Backtest.data.bars import SymbolBars
from Backtest.data.cells import Integers
from Backtest.data.clock import time_words
from Backtest.data.demo_market import is_synthetic
from Backtest.errors import DataError, RunError
from Backtest.logs import LOGGER
from Backtest.settings import CoreSettings, with_flags

from .golden import make_golden
from .klines import Klines, load_bars, open_klines, panel_of, require_any, rows_in, same_columns
from .labels import LabelKind, make_labels, parse_horizons
from .layout import RunLayout, new_run
from .manifest import Manifest, read_manifest, write_manifest
from .parquet_store import ParquetStore
from .store import Inputs, Store

DECISIVE = (
    "klines_folder", "file_pattern", "quote", "last_bar", "episode_gap", "max_bad_rows", "max_gap", "min_coverage",
    "golden_rows", "golden_seed",
)  # fmt: skip
"""Settings that decide about the bytes that are written."""


@dataclass(frozen=True)
class PrepareRequest:
    """One run of Step 0.

    Attributes
    ----------
    core
        Data root, rules for klines, golden samples. Relative roots are relative to the project root.
    output_root, run_id, bar_freq
        Where the run goes, its name, its bar length.
    symbols
        Names, ``@file`` or ``all``; None: all.
    start, end
        Window of bar open times, half-open, as typed; None: as far as the data reach.
    horizons
        As typed.
    label_kinds
        Which forward returns.
    mode
        ``plan`` writes the manifest only.
    overwrite
        Replace what is there.
    """

    core: CoreSettings
    output_root: Path
    run_id: str
    bar_freq: str
    symbols: tuple[str, ...] | None = None
    start: str | None = None
    end: str | None = None
    horizons: tuple[str, ...] = ()
    label_kinds: tuple[LabelKind, ...] = ("open",)
    mode: Literal["plan", "execute"] = "execute"
    overwrite: bool = False


@dataclass(frozen=True)
class _Job:
    layout: RunLayout
    klines: Klines
    horizons: dict[str, int]
    request: PrepareRequest


def prepare(request: PrepareRequest) -> dict[str, Any]:
    """Run Step 0 and return what the command prints; the caller holds the run's lock."""
    job = open_request(request)
    loaded, refused = load_bars(job.klines, symbols=job.klines.symbols, fields=None)
    require_any(loaded, refused)
    plan = planned(job, loaded, refused)
    if request.mode == "plan":
        write_manifest(job.layout, plan)
        return _summary(plan, job.layout)
    return _summary(write_all(ParquetStore(job.layout), job.klines, plan, loaded), job.layout)


def open_request(request: PrepareRequest) -> _Job:
    """Find and check everything that does not need the klines' content."""
    layout = new_run(request.output_root, request.run_id, request.bar_freq)
    if layout.manifest.exists() and not request.overwrite:
        state = read_manifest(layout, complete=False).state
        if state == "complete":
            raise RunError(f"run {layout.run_id} has inputs at {layout.bar_freq} ({layout.manifest}); add --overwrite")
    horizons = parse_horizons(request.horizons or request.core.horizons, layout.timeframe)
    klines = open_klines(request.core, layout.timeframe, symbols=request.symbols, start=request.start, end=request.end)
    return _Job(layout, klines, horizons, request)


def planned(job: _Job, loaded: Sequence[SymbolBars], refused: dict[str, str]) -> Manifest:
    """Return the manifest of what is read, nothing being written yet."""
    request, klines = job.request, job.klines
    return Manifest(
        state="planned",
        run_id=job.layout.run_id,
        bar_freq=job.layout.bar_freq,
        data_root=str(klines.root.data_root),
        synthetic=is_synthetic(klines.root.data_root),
        source_timeframe=klines.root.timeframe.label,
        start=request.start,
        end=request.end,
        symbols=[one.symbol for one in loaded],
        refused=dict(sorted(refused.items())),
        horizons=job.horizons,
        label_kinds=list(request.label_kinds),
        sources={one.symbol: _source(one, klines) for one in loaded},
        findings={one.symbol: [asdict(finding) for finding in one.findings] for one in loaded if one.findings},
        settings={name: getattr(klines.core, name) for name in DECISIVE},
        written={},
    )


def _source(bars: SymbolBars, klines: Klines) -> dict[str, Any]:
    first, after = rows_in(bars, klines.window)
    ends = [time_words(klines.timeframe.open_ns(int(bars.index[row]))) for row in (first, after - 1)]
    return {
        "path": bars.source.path,
        "sha256": bars.source.sha256,
        "bytes": bars.source.size,
        "rows": after - first,
        "start": ends[0],
        "end": ends[1],
        "last_bar": bars.last_bar,
        "columns": list(bars.columns),
    }


def make_inputs(klines: Klines, loaded: Sequence[SymbolBars], plan: Manifest) -> Inputs:
    """Return the bars of a window on one clock, with their forward returns."""
    full, fields = same_columns(loaded)
    members = frozenset(one.symbol for one in full)
    panel = panel_of(klines, full, lookback=0, fields=fields, members=members)
    return Inputs(panel, make_labels(panel, plan.horizons.values(), kinds=plan.label_kinds))


def write_all(store: Store, klines: Klines, plan: Manifest, loaded: Sequence[SymbolBars]) -> Manifest:
    """Write inputs, labels, golden samples and, last, the manifest; return it."""
    layout = store.layout
    inputs = make_inputs(klines, loaded, plan)
    indices: dict[str, Integers] = {}
    for one in loaded:
        first, after = rows_in(one, klines.window)
        indices[one.symbol] = one.index[first:after]
    golden = make_golden(
        klines, plan.sources, indices, horizons=tuple(plan.horizons.values()), kinds=tuple(plan.label_kinds)
    )
    layout.manifest.unlink(missing_ok=True)
    store.write_inputs(inputs)
    files.write_json(layout.golden, golden)
    written = {
        path.relative_to(layout.root).as_posix(): files.sha256(path) for path in (layout.store_index, layout.golden)
    }
    done = replace(plan, state="complete", written=written)
    write_manifest(layout, done)
    LOGGER.info("wrote %s", layout.manifest)
    return done


def rewrite(core: CoreSettings, layout: RunLayout) -> Manifest:
    """Write inputs and golden samples again from what the manifest says; DataError where the klines have changed."""
    plan = read_manifest(layout)
    core = with_flags(core, data_root=plan.data_root, **plan.settings)
    klines = open_klines(core, layout.timeframe, symbols=plan.symbols, start=plan.start, end=plan.end)
    last_bars = {symbol: source["last_bar"] for symbol, source in plan.sources.items()}
    loaded, refused = load_bars(klines, symbols=klines.symbols, fields=None, last_bars=last_bars)
    changed = [one.symbol for one in loaded if one.source.sha256 != plan.sources[one.symbol]["sha256"]]
    if changed or refused:
        names = ", ".join([*changed, *refused][:5])
        raise DataError(f"the klines of {names} have changed since Step 0; run step0_prepare_inputs.py --overwrite")
    return write_all(ParquetStore(layout), klines, plan, loaded)


def _summary(manifest: Manifest, layout: RunLayout) -> dict[str, Any]:
    return {
        "status": "incomplete" if manifest.refused else "ok",
        "state": manifest.state,
        "run_id": manifest.run_id,
        "path": str(layout.root),
        "manifest": str(layout.manifest),
        "bar_freq": manifest.bar_freq,
        "source_timeframe": manifest.source_timeframe,
        "symbols": manifest.symbols,
        "refused": manifest.refused,
        "rows": sum(source["rows"] for source in manifest.sources.values()),
        "horizons": manifest.horizons,
    }
