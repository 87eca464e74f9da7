"""Settings of both pipelines. A default stands once, here; config/core.yaml overrides it, a flag overrides both."""

from __future__ import annotations

import os
import reprlib
from dataclasses import MISSING, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_type_hints

from .errors import SettingsError, did_you_mean

if TYPE_CHECKING:
    from pydantic import BaseModel

PROJECT_ROOT = Path(__file__).resolve().parent.parent
CORE_YAML = PROJECT_ROOT / "config" / "core.yaml"

LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR"]


@dataclass(frozen=True)
class CoreSettings:
    """What config/core.yaml may hold. Relative paths are relative to the project root.

    Attributes
    ----------
    data_root, datahub_root, results_root, log_root
        Where klines are read, factor sets and runs are written, logs go.
    log_level
        DEBUG, INFO, WARNING or ERROR.
    klines_folder, file_pattern
        Klines lie in ``<data_root>/<klines_folder>/<timeframe>/<file_pattern>.csv|.csv.gz|.parquet``.
    funding_folder, open_interest_folder
        Folders with ``<SYMBOL>.csv|.csv.gz|.parquet``, relative to the data root: a list, or text with commas.
    external_folder
        Folders in which a recipe's external series may lie, besides the recipe's own.
    funding_valid, open_interest_valid
        Durations: the longest time between two settlements, and until when an open interest is taken for the present.
    quote
        Quote currency that ``BTC`` is completed with.
    symbols_table
        File of what is known of each coin (sector, supply ...); where there is none, recipes have no groups.
    last_bar
        ``auto`` drops the last bar when it closes after the file was written; ``drop`` and ``keep`` always do.
    episode_gap
        Missing time after which a symbol counts as delisted, and a later bar as a new listing.
    max_bad_rows
        Share of a symbol's rows that may be dropped before the symbol is refused.
    max_gap, min_coverage
        Refuse a symbol with a longer gap (duration) or a lower share of bars (fraction); None: never.
    gap_tolerance
        Share of a window that may be missing before a rolling operator is.
    max_window
        Longest window of an operator, bars.
    workers
        Processes; 0 means one per core.
    memory_limit_gb
        Stage A keeps each worker's arrays below this.
    dtype
        How factor files keep values: ``float64``, or ``float32`` at half the size.
    function_timeout
        Seconds that a library factor may take per block of symbols.
    allow_modules
        Modules whose functions a recipe may name.
    initial_cash
        Quote currency at the start of a run.
    benchmark
        Symbol whose buy-and-hold is drawn beside every run.
    commission, slippage
        Fractions of the traded value and of the price.
    slippage_capped
        True caps the slipped price at the bar's high and low, as Backtrader does by default.
    lot_step, min_notional
        Smallest size step in base units and smallest order value in quote currency.
    no_trade_band
        Target weights closer than this to the current weight leave the position alone.
    on_rejected
        ``count`` leaves an order that the cash does not cover to the broker; ``scale`` shrinks the opening buys.
    delisting_haircut
        Fraction of the last close that is lost when a delisted holding is settled.
    margin_mode, leverage
        Of futures: ``cross`` (one wallet) or ``isolated``, and notional per margin, 1 to 125.
    um_tiers, um_fees
        Files with the exchange's dated maintenance-margin tiers and fees; futures pay these, not `commission`.
    missing_funding
        ``warn`` or ``refuse``: what to do where a position is held while its funding is unknown.
    overlays
        Rules between a strategy and its orders, ``name:key=value,key=value`` each (portfolio/overlays.py).
    risk_free
        Yearly rate that Sharpe and Sortino subtract.
    evaluation_root
        Where runs of the factor evaluation are written.
    horizons
        Of the forward returns that its Step 0 writes, bars or durations.
    golden_rows, golden_seed
        Rows of each symbol that are read a second time, by Python's csv module, and what draws them.
    qc_max_missing
        Share of a symbol's bars, from its first to its last, that may be missing.
    qc_max_gap
        Longest run of missing bars, a duration.
    qc_max_stale, qc_stale_bars
        Share of bars that may lie in a run of `qc_stale_bars` or more equal closes.
    qc_max_outliers, qc_outlier_deviations
        Share of bars whose return may lie that many robust standard deviations off.
    qc_max_zero_volume
        Share of bars that may be without volume.
    qc_max_volume_anomalies, qc_volume_ratio
        Share of bars whose volume may be that many times the median of the bars around.
    max_loss
        Share of a factor's (bar, symbol) cells that may be without factor or forward return before it is not evaluated.
    """

    data_root: str = "DataHub/synthetic_market"
    datahub_root: str = "DataHub"
    results_root: str = "Backtest/results"
    log_root: str = "FactorFoundry/logs"
    log_level: LogLevel = "INFO"
    klines_folder: str = "6.Binance Data Resampled"
    file_pattern: str = "{symbol}"
    funding_folder: str | tuple[str, ...] = "funding"
    open_interest_folder: str | tuple[str, ...] = "open_interest"
    external_folder: str | tuple[str, ...] = "external"
    funding_valid: str = "8h"
    open_interest_valid: str = "1d"
    quote: str = "USDT"
    symbols_table: str = "config/symbols.yaml"
    last_bar: Literal["auto", "drop", "keep"] = "auto"
    episode_gap: str = "3d"
    max_bad_rows: float = 0.001
    max_gap: str | None = None
    min_coverage: float | None = None
    gap_tolerance: float = 0.1
    max_window: int = 1_000_000
    workers: int = 0
    memory_limit_gb: float = 4.0
    dtype: Literal["float64", "float32"] = "float64"
    function_timeout: float = 600.0
    allow_modules: tuple[str, ...] = ("Backtest.data.indicators", "Backtest.data.indicators.talib")
    initial_cash: float = 100_000.0
    benchmark: str = "BTCUSDT"
    commission: float = 0.001
    slippage: float = 0.001
    slippage_capped: bool = False
    lot_step: float = 1e-8
    min_notional: float = 5.0
    no_trade_band: float = 0.0
    on_rejected: Literal["count", "scale"] = "count"
    delisting_haircut: float = 0.0
    margin_mode: Literal["cross", "isolated"] = "cross"
    leverage: float = 1.0
    um_tiers: str = "config/exchange/binance_um_tiers.yaml"
    um_fees: str = "config/exchange/binance_um_fees.yaml"
    missing_funding: Literal["warn", "refuse"] = "warn"
    overlays: tuple[str, ...] = ()
    risk_free: float = 0.0
    evaluation_root: str = "AI_Agent_Output_fix"
    horizons: tuple[str, ...] = ("1", "5", "15", "30", "60")
    golden_rows: int = 24
    golden_seed: int = 7
    qc_max_missing: float = 0.05
    qc_max_gap: str = "3d"
    qc_max_stale: float = 0.05
    qc_stale_bars: int = 12
    qc_max_outliers: float = 0.01
    qc_outlier_deviations: float = 20.0
    qc_max_zero_volume: float = 0.05
    qc_max_volume_anomalies: float = 0.02
    qc_volume_ratio: float = 50.0
    max_loss: float = 0.5

    def __post_init__(self) -> None:
        for name, low, high in RANGES:
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise SettingsError(f"{name} is {value!r}; allowed is {low:g} to {high:g}")
        if "{symbol}" not in self.file_pattern:
            raise SettingsError(f"file_pattern is {self.file_pattern!r}; it must hold {{symbol}}")
        from .data.timeframe import parse_duration

        for name in ("episode_gap", "funding_valid", "open_interest_valid", "qc_max_gap"):
            parse_duration(getattr(self, name), name)
        if self.max_gap is not None:
            parse_duration(self.max_gap, "max_gap")


RANGES: tuple[tuple[str, float, float], ...] = (
    ("max_bad_rows", 0, 1), ("min_coverage", 0, 1), ("gap_tolerance", 0, 0.5), ("max_window", 1, 10_000_000),
    ("workers", 0, 1024), ("memory_limit_gb", 0.1, 100_000), ("function_timeout", 0.1, 1_000_000),
    ("initial_cash", 1e-6, 1e15), ("commission", 0, 0.5), ("slippage", 0, 0.5), ("lot_step", 1e-12, 1e9),
    ("min_notional", 0, 1e12), ("no_trade_band", 0, 1), ("delisting_haircut", 0, 1), ("leverage", 1, 125),
    ("risk_free", -1, 10),
    ("golden_rows", 1, 100_000), ("golden_seed", 0, 2**63 - 1), ("qc_max_missing", 0, 1), ("qc_max_stale", 0, 1),
    ("qc_stale_bars", 2, 1_000_000), ("qc_max_outliers", 0, 1), ("qc_outlier_deviations", 1, 1e6),
    ("qc_max_zero_volume", 0, 1), ("qc_max_volume_anomalies", 0, 1), ("qc_volume_ratio", 1, 1e9),
    ("max_loss", 0, 1),
)  # fmt: skip

Settings = TypeVar("Settings")


def load_core(path: Path | None = None, **flags: Any) -> CoreSettings:
    """Return the core settings: defaults, then the yaml file, then every flag that is not None."""
    source = path or CORE_YAML
    from_file = read_mapping(source) if path or source.exists() else {}
    given = {name: value for name, value in flags.items() if value is not None}
    return build(CoreSettings, {**from_file, **given}, str(source) if from_file else "flags")


def read_mapping(path: Path) -> dict[str, Any]:
    """Return the top-level mapping of a yaml or JSON file, refusing what `documents` refuses."""
    from .documents import load_document

    content = load_document(path).value
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise SettingsError(f"{path}: holds a {type(content).__name__}; a mapping of setting: value is allowed")
    return content


def build(kind: type[Settings], values: dict[str, Any], where: str) -> Settings:
    """Return the frozen dataclass `kind` from plain values, strictly typed; unknown names are refused."""
    from pydantic import ValidationError

    known = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    for name in values:
        if name not in known:
            near = did_you_mean(name, known) or ";"
            raise SettingsError(f"{where}: {name!r} is not a setting{near} allowed: {', '.join(known)}")
    lists = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    try:
        checked = strict_model(kind).model_validate(lists)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        found = "is missing" if first["type"] == "missing" else f"is {reprlib.repr(first['input'])}"
        raise SettingsError(f"{where}: {name} {found}; {first['msg'].lower()}") from None
    return kind(**{name: getattr(checked, name) for name in known})


def strict_model(kind: type[Any]) -> type[BaseModel]:
    """Return the model that checks the fields of `kind`; pydantic's strict dataclasses refuse plain mappings."""
    from pydantic import ConfigDict, create_model

    hints = get_type_hints(kind)
    columns: dict[str, Any] = {
        field.name: (hints[field.name], ... if field.default is MISSING else field.default) for field in fields(kind)
    }
    return create_model(kind.__name__, __config__=ConfigDict(strict=True, arbitrary_types_allowed=True), **columns)


def resolve(path: str | Path, base: Path = PROJECT_ROOT) -> Path:
    """Return an absolute path; relative ones of settings lie under the project root."""
    try:
        absolute = (base / Path(path).expanduser()).absolute()
        os.fspath(absolute).encode("utf-8")
    except RuntimeError:
        raise SettingsError(f"path {str(path)!r}: there is no such home folder") from None
    except UnicodeEncodeError:
        raise SettingsError(f"path {str(absolute)!a} is not UTF-8, which every record of a run is; rename it") from None
    return absolute


def with_flags(settings: Settings, **flags: Any) -> Settings:
    """Return `settings` with every flag that is not None."""
    return replace(settings, **{name: value for name, value in flags.items() if value is not None})  # type: ignore[type-var]
