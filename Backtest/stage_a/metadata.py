"""What Stage A writes about a factor set: the manifest that decides its bytes, and the metadata JSON."""

from __future__ import annotations

import hashlib
import platform
import sys
from collections.abc import Mapping, Sequence
from importlib import metadata as packages
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import files
from ..settings import PROJECT_ROOT, CoreSettings

if TYPE_CHECKING:
    from ..data.dsl.plan import Plan, PlannedFactor
    from ..data.fields import Fields
    from ..data.hub import Hub
    from ..data.hub_journal import Block, Record
    from ..data.timeframe import Timeframe

LAYOUT = 2
"""Version of the files' layout: raise it when the same values would be written as other bytes."""

COUNTS = ("undefined", "infinite", "overflow")
"""What became missing although its inputs were there: in an operator, in a function, beyond a float32 file's range."""

DECIDING_SETTINGS = (
    "klines_folder", "file_pattern", "last_bar", "episode_gap", "max_bad_rows", "max_gap", "min_coverage",
    "gap_tolerance", "dtype", "funding_valid", "open_interest_valid",
)  # fmt: skip
"""Settings that a factor value, or which symbols get a file, can depend on."""

DECIDING_PACKAGES = ("numpy", "numba", "pyarrow")
"""Packages that can change a bit of a value or of a file."""

TALIB_FACTORS = "Backtest.data.indicators.talib"


def software() -> dict[str, str]:
    """Return the versions that made the files."""
    return {
        "python": platform.python_version(),
        **{name: packages.version(name) for name in DECIDING_PACKAGES},
        "code_sha256": code_sha256(PROJECT_ROOT / "Backtest" / "data"),
    }


def code_sha256(folder: Path) -> str:
    """Return the hash of the source files that compute factors: other code may mean other values."""
    digest = hashlib.sha256()
    for path in sorted([*folder.rglob("*.py"), *folder.rglob("*.lark")]):
        digest.update(files.text_sha1(path.read_bytes()).encode())
    return digest.hexdigest()


def library_sha256(plan: Plan) -> dict[str, str]:
    """Return the hash of each module whose functions the recipe names, and the version of TA-Lib where it is used."""
    hashes = {}
    for name in sorted({call.source.partition(":")[0] for call in plan.library_calls.values()}):
        path = getattr(sys.modules.get(name), "__file__", None)
        if path:
            hashes[name] = files.text_sha1(Path(path).read_bytes())
        if name == TALIB_FACTORS:
            hashes["ta-lib"] = packages.version("ta-lib")
    return hashes


def manifest(
    *,
    plan: Plan,
    dsl_sha1: str,
    core: CoreSettings,
    timeframe: Timeframe,
    data_root: Path,
    start_ns: int | None,
    end_ns: int | None,
    symbols: tuple[str, ...],
    on_missing: str,
    fields: Mapping[str, str],
) -> dict[str, Any]:
    """Return whatever decides the bytes of a factor set's files, klines apart."""
    from ..data.clock import time_words

    return {
        "layout": LAYOUT,
        "dsl_sha1": dsl_sha1,
        "timeframe": timeframe.seconds,
        "data_root": str(data_root),
        "asked": {name: None if ns is None else time_words(ns) for name, ns in (("start", start_ns), ("end", end_ns))},
        "on_missing": on_missing,
        "settings": {name: getattr(core, name) for name in DECIDING_SETTINGS},
        "symbols": list(symbols) if plan.cross_symbol else None,
        "library": library_sha256(plan),
        "fields": dict(fields),
        "software": software(),
    }


def metadata(
    *,
    hub: Hub,
    factor_set: str,
    timeframe: Timeframe,
    plan: Plan,
    manifest: Mapping[str, Any],
    generation: str,
    blocks: Sequence[Block],
    refused: Mapping[str, str],
    fields: Fields,
    synthetic: bool,
    source_timeframe: str,
) -> dict[str, Any]:
    """Return the metadata JSON of a finished factor set; `created_at` alone comes from a clock."""
    records = {record.symbol: record for block in blocks for record in block.records}
    symbols = sorted(records)
    folder = hub.set_folder(timeframe, factor_set).relative_to(hub.root).as_posix()
    start, end = covered(records, timeframe)
    return {
        "factor_set": factor_set,
        "timeframe": timeframe.label,
        "data_root": manifest["data_root"],
        "start": start,
        "end": end,
        "asked": manifest["asked"],
        "symbols": symbols,
        "rows": sum(record.rows for record in records.values()),
        "factors": {
            factor.name: _factor_facts(factor, records, blocks, manifest["settings"]["dtype"])
            for factor in plan.factors
        },
        "definitions": {definition.name: _content_facts(definition) for definition in plan.definitions},
        "skipped": dict(plan.skipped),
        "dialect": plan.dialect,
        "dsl_sha1": manifest["dsl_sha1"],
        "fields": manifest["fields"],
        "files": {
            symbol: _file_facts(records[symbol], folder, fields.constants(symbol, plan.fields)) for symbol in symbols
        },
        "qc": {symbol: found for symbol in symbols if (found := findings(records[symbol]))},
        "refused": dict(sorted(refused.items())),
        "dropped": dropped(records),
        "source_timeframe": source_timeframe,
        "synthetic": synthetic,
        "on_missing": manifest["on_missing"],
        "layout": manifest["layout"],
        "library": manifest["library"],
        "settings": manifest["settings"],
        "software": manifest["software"],
        "generation": generation,
        "created_at": files.utc_now(),
    }


def dropped(records: Mapping[str, Record]) -> dict[str, list[str]]:
    """Return symbol -> factors that ``--on-missing drop`` wrote as missing."""
    return {symbol: list(record.dropped) for symbol, record in sorted(records.items()) if record.dropped}


def covered(records: Mapping[str, Record], timeframe: Timeframe) -> tuple[str, str]:
    """Return the coverage inside the asked window: from the open of the first bar to the close of the last."""
    from ..data.clock import parse_time, time_words

    first = min(parse_time(record.start) for record in records.values())
    last = max(parse_time(record.end) for record in records.values())
    return time_words(first), time_words(last + timeframe.ns)


def shorter(
    records: Mapping[str, Record], timeframe: Timeframe, *, start_ns: int | None, end_ns: int | None
) -> list[str]:
    """Return what to tell when the data do not reach as far as they were asked for."""
    from ..data.clock import parse_time, time_words

    start, end = covered(records, timeframe)
    told = []
    if start_ns is not None and parse_time(start) >= start_ns + timeframe.ns:
        told.append(f"asked from {time_words(start_ns)}, the data begin {start}")
    if end_ns is not None and parse_time(end) <= end_ns - timeframe.ns:
        told.append(f"asked until {time_words(end_ns)}, the data end {end}")
    return told


def _factor_facts(
    factor: PlannedFactor, records: Mapping[str, Record], blocks: Sequence[Block], dtype: str
) -> dict[str, Any]:
    missing = {symbol: record.missing[factor.name] for symbol, record in sorted(records.items())}
    bars = {symbol: record.bars for symbol, record in records.items()}
    return {
        **_content_facts(factor),
        "na_threshold": factor.na_threshold,
        "missing_ratio": sum(missing.values()) / sum(bars.values()),
        "missing_ratio_by_symbol": {symbol: count / bars[symbol] for symbol, count in missing.items()},
        "dropped": [symbol for symbol, names in dropped(records).items() if factor.name in names],
        "dtype": dtype,
        **{
            f"{kind}_values": sum(block.counts.get(factor.name, {}).get(kind, 0) for block in blocks) for kind in COUNTS
        },
    }


def _content_facts(entry: PlannedFactor) -> dict[str, Any]:
    """Return what a factor or a definition is, as the recipe says."""
    what = "source" if entry.source else "expression"
    return {
        what: getattr(entry, what),
        "params": dict(entry.params),
        "lookback_bars": entry.lookback,
        "description": entry.description,
    }


def _file_facts(record: Record, folder: str, constants: Mapping[str, str | float]) -> dict[str, Any]:
    source = record.sources[record.symbol]
    return {
        "path": f"{folder}/{record.symbol}.parquet",
        "sha256": record.sha256,
        "rows": record.rows,
        "start": record.start,
        "end": record.end,
        "source_sha256": source.sha256,
        "source_path": source.path,
        "source_size": source.size,
        "bars": record.bars,
        "bars_sha256": record.bars_sha256,
        "history_sha256": record.history_sha256,
        "last_bar": source.last_bar,
        "stamped": {path: one.sha256 for path, one in sorted(record.sources.items()) if path == one.path},
        "symbols_table": dict(constants),
    }


def findings(record: Record) -> list[dict[str, Any]]:
    """Return the QC findings of a symbol: in its klines, and factors that were dropped."""
    told = [
        {"kind": "factor_dropped", "count": record.missing[name], "first": record.start, "detail": words}
        for name in record.dropped
        for words in [f"{name} is missing on {record.missing[name]} of {record.bars} bars, above its na_threshold"]
    ]
    return [dict(finding) for finding in record.findings] + told
