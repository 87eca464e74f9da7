"""What a run on USDT-M futures reads beside prices and factors: tiers, fees, funding; and the facts that it keeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..data import joins
from ..data.funding import Funding, load_funding
from ..data.panel import Panel
from ..data.stamped_fields import places_of
from ..data.timeframe import parse_duration
from ..engine.costs import Instrument
from ..engine.futures.fees import load_fees
from ..engine.futures.terms import FuturesTerms, check_leverage, table_notes, unknown_funding
from ..engine.futures.tiers import load_tiers
from ..errors import DataError, RunError
from ..settings import CoreSettings, resolve


@dataclass(frozen=True)
class FuturesInputs:
    """Terms of a run on futures, and where they come from.

    Attributes
    ----------
    terms
        As the engine takes them.
    facts
        For run_context.json: path and SHA-256 of the tier and fee files, and for each symbol those of its funding
        files with the digest of the settlements inside the run's window.
    """

    terms: FuturesTerms
    facts: Mapping[str, Any]


def futures_inputs(
    core: CoreSettings,
    instruments: Mapping[str, Instrument],
    symbols: tuple[str, ...],
    *,
    data_root: Path,
    panel: Panel,
) -> FuturesInputs:
    """Read tiers, fees, and the funding of `symbols` from the folders of ``funding_folder`` in the data root.

    Raises
    ------
    FactorError
        One line: a file that cannot be used, and why. A symbol without a funding file is none: see `unknown_funding`.
    """
    tiers, fees = load_tiers(resolve(core.um_tiers)), load_fees(resolve(core.um_fees))
    places = places_of(replace(core, data_root=str(data_root)), core.funding_folder)
    funding = {symbol: _funding(symbol, places) for symbol in symbols} if places else {}
    own = {symbol: instruments.get(symbol, Instrument()).leverage for symbol in symbols}
    terms = FuturesTerms(
        margin_mode=core.margin_mode,
        leverage={symbol: core.leverage if value is None else value for symbol, value in own.items()},
        tiers=tiers,
        fees=fees,
        funding=funding,
        funding_valid_ns=parse_duration(core.funding_valid),
        missing_funding=core.missing_funding,
    )
    begin = panel.timeframe.open_ns(panel.first_bar + panel.warmup)
    end = panel.timeframe.open_ns(panel.first_bar + panel.shape[0])
    facts = {
        "tiers": {"path": tiers.path, "sha256": tiers.sha256},
        "fees": {"path": fees.path, "sha256": fees.sha256},
        "funding": {symbol: _facts(series, begin, end) for symbol, series in funding.items() if series is not None},
    }
    return FuturesInputs(terms, facts)


def _funding(symbol: str, places: tuple[Path, ...]) -> Funding | None:
    try:
        return load_funding(symbol, places)
    except DataError as error:
        raise DataError(f"funding of {symbol}: {error}") from None


def _facts(series: Funding, begin_ns: int, end_ns: int) -> dict[str, Any]:
    files = [{"path": source.path, "sha256": source.sha256} for source in series.rates.sources]
    return {"files": files, "settlements_sha256": series.digest(begin_ns, end_ns)}


def notes_of_terms(terms: FuturesTerms, symbols: tuple[str, ...], panel: Panel) -> tuple[str, ...]:
    """Return what the log of a sweep must say of its terms: of a run, whose holdings are known, the engine says it.

    Raises
    ------
    FactorError
        A leverage beyond the tiers, or unknown funding where ``missing_funding`` is ``refuse``.
    """
    window = panel.rows(panel.warmup, panel.shape[0])
    bars = joins.bars_of(window)
    check_leverage(terms, symbols, bars.opens)
    there = window.exists[:, [panel.symbols.index(symbol) for symbol in symbols]]
    unknown = unknown_funding(terms, symbols, there, bars, verb="has")
    if unknown and terms.missing_funding == "refuse":
        raise RunError(f"{unknown[0]}; a sweep needs it for all; missing_funding: warn runs without it")
    return (*table_notes(terms, symbols, int(bars.opens[0])), *unknown)
