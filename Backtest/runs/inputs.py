"""Everything a run reads, verified before anything runs.

1. `Hub.read_metadata`, `require_recipe`: the factor set is complete and made from the recipe given.
2. `run_window`: the asked window lies inside what Stage A computed.
3. `run_symbols`: the symbols are in the factor set; those that Stage A refused are left out and named.
4. `Hub.read`: the factors that the strategy needs, every file's hash compared.
5. `run_bars`: prices, and the proof that they are those the factors were computed from.
6. `build_panel`: prices and factor values on one clock.
7. `futures_inputs`: on futures, tiers, fees and funding.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..data.bars import SymbolBars, require_fields
from ..data.bars_digest import DIGEST_FIELDS, bars_sha256
from ..data.clock import build_panel, parse_time, time_words
from ..data.hub import FactorSet, Hub, require_recipe
from ..data.panel import Floats, Panel
from ..data.root import KlineRoot, open_root
from ..data.source import load_symbol
from ..data.timeframe import parse_duration
from ..data.universe import ALL, resolve_symbols
from ..errors import DataError, RunError, SymbolRefused, did_you_mean
from ..portfolio.limits import VolTarget
from ..settings import CoreSettings, build, resolve
from .futures import FuturesInputs, futures_inputs
from .request import SPOT, RunRequest

KLINES_CACHE = "klines"
LAYOUT_SETTINGS = ("klines_folder", "file_pattern")
NOT_NOTED = (None, None)


@dataclass(frozen=True)
class RunInputs:
    """What was read.

    Attributes
    ----------
    metadata
        Of the factor set.
    panel
        Prices of the run's symbols, and of the benchmark where it has klines; `warmup` rows feed volatility only.
    symbols
        The run's symbols, sorted.
    benchmark
        Column of the panel that is the benchmark; None without klines.
    factors
        Factor name -> float64 [T - warmup, S] on the window's rows.
    data_root
        Where the prices were read.
    sources
        Symbol -> path and SHA-256 of the klines file, the digest of the bars used, the decision about the file's
        last bar and the open time of the last bar kept: with these two the same bars are made again.
    refused
        Asked symbols that Stage A refused, with its reason.
    notes
        What the log must say.
    futures
        Terms of a run on futures; None on spot.
    """

    metadata: Mapping[str, Any]
    panel: Panel
    symbols: tuple[str, ...]
    benchmark: str | None
    factors: Mapping[str, Floats]
    data_root: Path
    sources: Mapping[str, Mapping[str, str]]
    refused: Mapping[str, str]
    notes: tuple[str, ...]
    futures: FuturesInputs | None = None


def load_inputs(request: RunRequest) -> RunInputs:
    """Read and verify all that a run needs; see the steps at the top.

    Raises
    ------
    FactorError
        One line that names what does not fit.
    """
    hub = Hub(request.datahub_root)
    metadata = hub.read_metadata(request.timeframe, request.factor_set)
    if request.dsl_path is not None:
        require_recipe(metadata, request.dsl_path)
    core, own = reading_settings(request, metadata)
    names = factor_names(request, metadata)
    start, end, notes = run_window(request, metadata)
    data_root = request.data_root or resolve(metadata["data_root"])
    root = open_root(data_root, request.timeframe, core)
    symbols, refused = run_symbols(request, metadata, root)
    values = hub.read(request.timeframe, request.factor_set, symbols=symbols, factors=names)
    if values.metadata != metadata:
        return load_inputs(request)  # Stage A published another generation meanwhile: nothing checked so far counts
    bars, changed = run_bars(request, values.metadata, root, symbols=symbols, core=core)
    benchmark, extra, missing = benchmark_bars(request, root, symbols=symbols, core=core)
    unused = [*unmatched_instruments(request, root)]
    left_out = [f"{symbol} is left out, Stage A refused it: {why}" for symbol, why in refused.items()]
    panel = build_panel(
        [*bars, *extra],
        timeframe=request.timeframe,
        start_ns=start,
        end_ns=end,
        lookback=volatility_bars(request),
        fields=DIGEST_FIELDS,
        members=symbols,
        episode_gap_ns=parse_duration(core.episode_gap),
    )
    return RunInputs(
        metadata=values.metadata,
        panel=panel,
        symbols=symbols,
        benchmark=benchmark,
        factors={name: on_clock(values, name, panel) for name in names},
        data_root=data_root,
        sources={one.symbol: _source(one, panel) for one in [*bars, *extra]},
        refused=refused,
        notes=(*own, *notes, *changed, *missing, *left_out, *unused),
        futures=None
        if request.market == SPOT
        else futures_inputs(core, request.instruments, symbols, data_root=data_root, panel=panel),
    )


def reading_settings(request: RunRequest, metadata: Mapping[str, Any]) -> tuple[CoreSettings, list[str]]:
    """Return the settings that klines are read with, those that Stage A recorded, and a note for each that differs.

    Where a data root is given, its layout is the one that the settings of this run describe.
    """
    own = LAYOUT_SETTINGS if request.data_root else ()
    recorded = {name: value for name, value in (metadata.get("settings") or {}).items() if name not in own}
    recorded = {name: value for name, value in recorded.items() if hasattr(request.core, name)}
    core = build(CoreSettings, {**asdict(request.core), **recorded}, f"metadata of {request.factor_set}")
    return core, [
        f"{name} is {value!r} as Stage A had it, not {getattr(request.core, name)!r}"
        for name, value in recorded.items()
        if value != getattr(request.core, name)
    ]


def factor_names(request: RunRequest, metadata: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the factors to read: the strategy's own (of a sweep: the trials'), or all for a Backtrader strategy."""
    known = list(metadata["factors"])
    wanted: dict[str, None] = {}
    for choice in (request.choice, *request.others):
        if choice.strategy is None:
            return tuple(known)
        factor = choice.strategy.factor
        if factor not in known:
            has = f"{did_you_mean(factor, known) or ';'} it has {', '.join(known)}"
            raise RunError(f"factor {factor!r} is not in factor set {request.factor_set!r}{has}")
        wanted[factor] = None
    return tuple(wanted)


def run_window(request: RunRequest, metadata: Mapping[str, Any]) -> tuple[int, int, list[str]]:
    """Return the window (ns, half-open) and what must be noted of it.

    Stage A's asked window bounds it; a window that reaches beyond Stage A's *data* is noted, one that reaches beyond
    what Stage A was *asked* for is refused, because the factor values there were never computed.
    """
    asked = metadata.get("asked") or {}
    covered = parse_time(metadata["start"]), parse_time(metadata["end"])
    low = covered[0] if asked.get("start") is None else parse_time(asked["start"])
    high = covered[1] if asked.get("end") is None else parse_time(asked["end"])
    have = f"factor set {request.factor_set!r} was computed from {time_words(low)} to {time_words(high)}"
    if request.start is not None and request.start < low and asked.get("start") is not None:
        raise RunError(f"--start {time_words(request.start)} is too early: {have}; run Stage A for the longer window")
    if request.end is not None and request.end > high and asked.get("end") is not None:
        raise RunError(f"--end {time_words(request.end)} is too late: {have}; run Stage A for the longer window")
    start = covered[0] if request.start is None else max(low, request.start)
    end = min(high, high if request.end is None else request.end)
    if start >= min(end, covered[1]):
        raise RunError(f"the window {time_words(start)} to {time_words(end)} holds no bar: {have}")
    notes = []
    if request.start is not None and request.start < covered[0]:
        notes.append(f"asked from {time_words(request.start)}, the data begin {time_words(covered[0])}")
    if request.end is not None and request.end > covered[1]:
        notes.append(f"asked until {time_words(request.end)}, the data end {time_words(covered[1])}")
    return start, end, notes


def run_symbols(
    request: RunRequest, metadata: Mapping[str, Any], root: KlineRoot
) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return the run's symbols, and the asked ones that Stage A refused with its reason."""
    known, refused = metadata["symbols"], metadata["refused"]
    asked = request.symbols
    if asked is None or [name.lower() for name in asked] == [ALL]:
        return tuple(known), {}
    wanted = resolve_symbols(root, asked)
    for symbol in wanted:
        if symbol not in known and symbol not in refused:
            hint = did_you_mean(symbol, known) or f"; it has {', '.join(known[:20])}"
            raise RunError(f"symbol {symbol!r} is not in factor set {request.factor_set!r}{hint}")
    left_out = {symbol: str(refused[symbol]) for symbol in wanted if symbol not in known}
    symbols = tuple(symbol for symbol in wanted if symbol in known)
    if not symbols:
        raise RunError(f"Stage A refused every symbol asked for: {'; '.join(left_out.values())}")
    return symbols, left_out


def unmatched_instruments(request: RunRequest, root: KlineRoot) -> Iterator[str]:
    """Yield a note for each key of config/instruments.yaml that no klines file has: its limits apply to nothing."""
    known = (*root.symbols, *root.clashes)
    for name in request.instruments:
        if name not in known:
            near = did_you_mean(name, known)
            yield f"config/instruments.yaml: {name!r} is no symbol of {root.folder}; its limits are not used{near}"


def volatility_bars(request: RunRequest) -> int:
    """Return the bars before the window that trailing volatilities need: overlays', and the longest of a sweep's."""
    strategies = [choice.strategy for choice in (request.choice, *request.others)]
    targets = [overlay.days for overlay in request.overlays if isinstance(overlay, VolTarget)]
    days = max([*targets, *(0.0 if strategy is None else strategy.volatility_days for strategy in strategies)])
    return math.ceil(days * request.timeframe.bars_per_day) + 1 if days else 0


def run_bars(
    request: RunRequest,
    metadata: Mapping[str, Any],
    root: KlineRoot,
    *,
    symbols: tuple[str, ...],
    core: CoreSettings,
) -> tuple[list[SymbolBars], list[str]]:
    """Return each symbol's bars up to the last that Stage A saw, and a note of every file that has changed since.

    Raises
    ------
    RunError
        A symbol's bars inside Stage A's window are not those that its factors were computed from.
    """
    begin = request.timeframe.first_at_or_after(parse_time(metadata["start"]))
    bars, notes = [], []
    for symbol in symbols:
        facts = metadata["files"][symbol]
        after = request.timeframe.index(parse_time(facts["end"])) + 1
        end = request.timeframe.open_ns(after)
        decision = facts.get("last_bar") or request.last_bars.get(symbol, NOT_NOTED)[0]
        try:
            one = _load(request, root, symbol, core=core, last_bar=decision, end=end)
        except SymbolRefused as error:
            raise RunError(f"prices of {symbol} cannot be used: {error.reason}") from None
        changed = one.source.sha256 != facts["source_sha256"]
        if not _same_bars(one, facts, begin, after, changed):
            window = f"between {metadata['start']} and {facts['end']}"
            raise RunError(
                f"{one.source.path}: bars of {symbol} {window} are not those that Stage A read; "
                f"run Stage A again with --overwrite, or give the --data-root it was made from"
            )
        if changed:
            notes.append(f"{one.source.path} has changed since Stage A; its bars inside the window have not")
        bars.append(one)
    return bars, notes


def _same_bars(bars: SymbolBars, facts: Mapping[str, Any], begin: int, after: int, changed: bool) -> bool:
    """Compare the bars themselves; a factor set that has no digest of them needs the very file it was made from."""
    stored = facts.get("bars_sha256")
    return not changed if stored is None else bars_sha256(bars, begin, after) == stored


def _load(
    request: RunRequest,
    root: KlineRoot,
    symbol: str,
    *,
    core: CoreSettings,
    last_bar: Any = None,
    end: int | None = None,
) -> SymbolBars:
    cache = request.datahub_root / KLINES_CACHE
    bars = load_symbol(root, symbol, settings=core, cache_root=cache, last_bar=last_bar, end=end, fields=DIGEST_FIELDS)
    require_fields(bars, DIGEST_FIELDS)
    return bars


def benchmark_bars(
    request: RunRequest, root: KlineRoot, *, symbols: tuple[str, ...], core: CoreSettings
) -> tuple[str | None, list[SymbolBars], list[str]]:
    """Return the benchmark's symbol (None without klines), its bars unless it is among `symbols`, and notes."""
    try:
        (symbol,) = resolve_symbols(root, [core.benchmark])
        if symbol in symbols:
            return symbol, [], []
        decision, last = request.last_bars.get(symbol, NOT_NOTED)
        end = None if last is None else parse_time(last) + request.timeframe.ns
        return symbol, [_load(request, root, symbol, core=core, last_bar=decision, end=end)], []
    except DataError as error:
        return None, [], [f"the benchmark column is empty: {error}"]


def on_clock(values: FactorSet, name: str, panel: Panel) -> Floats:
    """Return a factor on the window's rows and the factor set's columns; NaN where the set has no row."""
    rows = panel.shape[0] - panel.warmup
    first = panel.first_bar + panel.warmup
    out = np.full((rows, len(values.symbols)), np.nan)
    stored = values.factors[name]
    begin, end = max(first, values.first_bar), min(first + rows, values.first_bar + len(stored))
    if begin < end:
        out[begin - first : end - first] = stored[begin - values.first_bar : end - values.first_bar]
    return out


def _source(bars: SymbolBars, panel: Panel) -> dict[str, str]:
    first = panel.first_bar
    return {
        "path": bars.source.path,
        "sha256": bars.source.sha256,
        "bars_sha256": bars_sha256(bars, first, first + panel.shape[0]),
        "last_bar": bars.last_bar,
        "end": time_words(panel.timeframe.open_ns(int(bars.index[-1]))),
    }
