"""What to run, decided once: the strategy with its parameters, the settings, the window and the roots.

The command line and ``--verify`` both make a `RunRequest`; what follows cannot tell them apart.
"""

from __future__ import annotations

import math
import re
from argparse import Namespace
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..data.clock import parse_time
from ..data.timeframe import Timeframe, parse_timeframe
from ..errors import RunError, SettingsError, did_you_mean
from ..names import check_name
from ..settings import PROJECT_ROOT, CoreSettings, build, load_core, read_mapping, resolve

if TYPE_CHECKING:
    from ..data.bars import LastBar
    from ..engine.costs import Instrument
    from ..portfolio import Overlay
    from ..strategies.base import Strategy

STRATEGY_YAMLS = PROJECT_ROOT / "config" / "strategies"
INSTRUMENTS_YAML = PROJECT_ROOT / "config" / "instruments.yaml"

ENGINES = ("backtrader", "numba", "both")
"""What runs a strategy: Backtrader's broker, the compiled engine, or both, which must then agree."""

MARKETS = ("spot", "um")
"""Spot, or USDT-M perpetual futures: margin, funding and liquidation."""

SPOT, UM = MARKETS

SPOT_LIMITS = {
    "topk": {"invest": 1.0, "max_weight": 1.0},
    "longshort": {"gross_leverage": 10.0, "max_weight": 10.0},
    "signal": {"invest": 1.0, "weight": 10.0},
}
"""Strategy -> parameter -> the most that spot takes: it is bought with cash. On futures the margin decides."""

SECRET = re.compile(r"secret|passw|credential|api_?key|private_?key|access_?token", re.IGNORECASE)
"""Parameter names that are refused: a run folder keeps every parameter, and people share run folders."""


@dataclass(frozen=True)
class StrategyChoice:
    """A strategy and all its parameters.

    Attributes
    ----------
    name
        Names the folder of its runs: a key of STRATEGIES, or the class of the user's own strategy.
    source
        ``module:Class`` of the user's own strategy, else None.
    params
        Every parameter with its value; for a Backtrader class of the user's the given ones, as text.
    strategy
        The object, None for a Backtrader class of the user's.
    """

    name: str
    source: str | None
    params: Mapping[str, Any]
    strategy: Strategy | None


@dataclass(frozen=True)
class RunRequest:
    """All that a run depends on beside the data.

    Attributes
    ----------
    core, instruments
        Settings, and the limits of single symbols.
    timeframe, factor_set, choice
        What is traded on, and how.
    symbols
        As asked; None: those of the factor set.
    start, end
        Half-open window of bar open times, ns since the epoch; None: that of the factor set.
    data_root
        None: the one Stage A recorded.
    datahub_root
        Where the factor set lies.
    dsl_path
        Recipe that the factor set must have been made from; None: not compared.
    last_bars
        Symbol -> the decision about its last bar and the open time of the last bar used, as an earlier run noted
        them; None where it did not. Empty: Stage A's for its symbols, the setting's for the benchmark.
    engine
        One of ENGINES.
    market
        One of MARKETS; futures run on the compiled engine.
    overlays
        Those of the settings, in the order of their table.
    others
        The other trials of a sweep: what they need is read too.
    """

    core: CoreSettings
    instruments: Mapping[str, Instrument]
    timeframe: Timeframe
    factor_set: str
    choice: StrategyChoice
    symbols: tuple[str, ...] | None
    start: int | None
    end: int | None
    data_root: Path | None
    datahub_root: Path
    dsl_path: Path | None = None
    last_bars: Mapping[str, tuple[LastBar | None, str | None]] = field(default_factory=dict)
    engine: str = "backtrader"
    overlays: tuple[Overlay, ...] = ()
    others: tuple[StrategyChoice, ...] = ()
    market: str = SPOT


@dataclass(frozen=True)
class BacktestSettings:
    """What ``run_backtest.py`` was asked.

    Attributes
    ----------
    request
        What to run.
    results_root
        Where run folders go.
    overwrite
        Remove earlier runs of the very same experiment once this one is published.
    arguments
        As given, for run_context.json.
    """

    request: RunRequest
    results_root: Path
    overwrite: bool
    arguments: Mapping[str, Any]


def parse_params(words: Sequence[str]) -> dict[str, str]:
    """Return ``key=value`` words as a mapping; a repeated or secret-looking key is refused."""
    params: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key.isidentifier():
            raise SettingsError(f"--param {word!r}; key=value is allowed")
        if SECRET.search(key):
            raise SettingsError(f"--param {key}: looks like a secret, and the run folder would keep it; leave it out")
        if key in params:
            raise SettingsError(f"--param {key} is given twice: {params[key]!r} and {value!r}")
        params[key] = value
    return params


def choose_strategy(
    name: str,
    params: Mapping[str, str],
    yaml_values: Mapping[str, Any] | None = None,
    *,
    allow_modules: tuple[str, ...] = (),
) -> StrategyChoice:
    """Return a strategy from its name or ``module:Class``, its yaml's values and ``--param``.

    `yaml_values` None reads ``config/strategies/<name>.yaml`` where there is one. Only a module of `allow_modules` is
    imported.
    """
    if ":" in name:
        return choose_own(name, params, allow_modules=allow_modules)
    from ..strategies import STRATEGIES, build_strategy

    if yaml_values is None:
        path = STRATEGY_YAMLS / f"{name}.yaml"
        yaml_values = read_mapping(path) if name in STRATEGIES and path.exists() else {}
    strategy = build_strategy(name, params, yaml_values)
    return StrategyChoice(name, None, asdict(strategy), strategy)  # type: ignore[call-overload]


def choose_own(source: str, params: Mapping[str, str], *, allow_modules: tuple[str, ...]) -> StrategyChoice:
    """Return the user's own strategy ``module:Class``, of either kind that strategies/custom.py takes."""
    from ..strategies.custom import is_backtrader, load_class
    from ..strategies.table import built

    kind = load_class(source, allow_modules=allow_modules)
    folder = check_name("strategy", source.rpartition(":")[2])
    if is_backtrader(kind):
        return StrategyChoice(folder, source, dict(params), None)
    strategy = built(kind, source, params, {})
    return StrategyChoice(folder, source, asdict(strategy), strategy)  # type: ignore[call-overload]


def checked_engine(engine: str | None, choice: StrategyChoice, market: str = SPOT) -> str:
    """Return the engine, None: the market's default; refuse one that is not known, or cannot run the strategy there."""
    if market not in MARKETS:
        near = did_you_mean(market, MARKETS) or ";"
        raise SettingsError(f"market is {market!r}{near} allowed: {', '.join(MARKETS)}")
    if engine is None:
        engine = "backtrader" if market == SPOT else "numba"
    if market == UM and choice.strategy is None:
        raise SettingsError(f"--market um: {choice.source} is a backtrader.Strategy, and Backtrader knows no futures")
    if market == UM and engine in ("backtrader", "both"):
        raise SettingsError(
            f"--market um --engine {engine}: Backtrader knows no margin, funding or liquidation; leave --engine out"
        )
    if engine not in ENGINES:
        near = did_you_mean(engine, ENGINES) or ";"
        raise SettingsError(f"engine is {engine!r}{near} allowed: {', '.join(ENGINES)}")
    if choice.strategy is None and engine != ENGINES[0]:
        raise SettingsError(f"--engine {engine}: {choice.source} is a backtrader.Strategy; only backtrader runs it")
    return engine


def check_weights(choice: StrategyChoice, market: str) -> None:
    """Refuse on spot a strategy of ours that asks for more than cash can buy."""
    limits = SPOT_LIMITS.get(choice.name, {}) if market == SPOT and choice.source is None else {}
    for name, most in limits.items():
        value = choice.params[name]
        if value is not None and value > most:
            raise RunError(f"{name} is {value!r}; spot allows 0 to {most:g} (more: --market um with --leverage)")


def with_leverage(
    core: CoreSettings, instruments: Mapping[str, Instrument], words: Sequence[str], market: str
) -> tuple[CoreSettings, dict[str, Instrument]]:
    """Return settings and limits with ``--leverage 5 BTC=20,ETH=10``: one for all, ``SYMBOL=`` for a symbol."""
    from ..engine.costs import Instrument

    own, seen = dict(instruments), dict[str, str]()
    for word in apart(words):
        name, equals, text = word.rpartition("=")
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not 1 <= value <= 125 or (equals and not name):
            raise SettingsError(f"--leverage {word!r}; a number from 1 to 125, or SYMBOL=number is allowed")
        if market == SPOT:
            raise SettingsError(f"--leverage {word}: spot has none; add --market um")
        symbol = completed(name, own, core.quote) if equals else ""
        if symbol in seen:
            raise SettingsError(f"--leverage {word}: {seen[symbol]} is given as well")
        seen[symbol] = word
        if symbol:
            own[symbol] = replace(own.get(symbol, Instrument()), leverage=value)
        else:
            core = replace(core, leverage=value)
    return core, own


def apart(words: Sequence[str]) -> list[str]:
    """Return the words of ``--leverage``, which commas may join as those of ``--symbols``."""
    return [part for word in words for part in word.replace(",", " ").split()]


def completed(name: str, known: Collection[str], quote: str) -> str:
    """Return a symbol as ``--leverage`` names it, with its quote."""
    return name if name in known or name.endswith(quote) else name + quote


def refuse_strangers(settings: BacktestSettings, symbols: Collection[str]) -> None:
    """Refuse a ``--leverage SYMBOL=number`` whose symbol is not among those of the run: a slip would trade another."""
    core, own = settings.request.core, settings.request.instruments
    for word in apart(settings.arguments.get("leverage") or ()):
        name, equals, _ = word.rpartition("=")
        symbol = completed(name, own, core.quote)
        if equals and symbol not in symbols:
            near = did_you_mean(symbol, symbols) or ";"
            raise SettingsError(f"--leverage {word}: {symbol} is not in the run{near} allowed: {', '.join(symbols)}")


def chosen_overlays(core: CoreSettings, choice: StrategyChoice) -> tuple[CoreSettings, tuple[Overlay, ...]]:
    """Return the overlays that the settings name, and the settings with every parameter of theirs written out."""
    from ..portfolio import parse_overlays, text_of

    overlays = parse_overlays(core.overlays)
    if overlays and choice.strategy is None:
        raise SettingsError(
            f"overlays {', '.join(core.overlays)}: {choice.source} is a backtrader.Strategy, whose orders are its own; "
            "run it with --overlay none"
        )
    return replace(core, overlays=tuple(text_of(overlay) for overlay in overlays)), overlays


def settings_of(arguments: Namespace, symbols: Sequence[str] | None) -> BacktestSettings:
    """Return the settings of a command line: defaults, then core.yaml or ``--config``, then flags.

    Paths that were typed are relative to the working directory, those of settings to the project root.
    """
    from ..engine.costs import load_instruments

    params = parse_params(arguments.param)
    core = load_core(arguments.config, log_level=arguments.log_level, margin_mode=arguments.margin_mode)
    core = replace(core, allow_modules=tuple(dict.fromkeys([*core.allow_modules, *(arguments.allow_module or [])])))
    choice = choose_strategy(arguments.strategy, params, allow_modules=core.allow_modules)
    engine = checked_engine(arguments.engine, choice, arguments.market)
    check_weights(choice, arguments.market)
    instruments = load_instruments(INSTRUMENTS_YAML) if INSTRUMENTS_YAML.exists() else {}
    core, instruments = with_leverage(core, instruments, arguments.leverage or (), arguments.market)
    if arguments.margin_mode is not None and arguments.market == SPOT:
        raise SettingsError(f"--margin-mode {arguments.margin_mode}: spot has none; add --market um")
    core, overlays = chosen_overlays(replace(core, overlays=tuple(arguments.overlay or core.overlays)), choice)
    request = RunRequest(
        core=core,
        instruments=instruments,
        timeframe=parse_timeframe(arguments.timeframe),
        factor_set=check_name("factor set", arguments.factor_set),
        choice=choice,
        engine=engine,
        market=arguments.market,
        symbols=None if symbols is None else tuple(symbols),
        start=None if arguments.start is None else parse_time(arguments.start),
        end=None if arguments.end is None else parse_time(arguments.end),
        data_root=None if arguments.data_root is None else arguments.data_root.absolute(),
        datahub_root=resolve(core.datahub_root)
        if arguments.datahub_root is None
        else arguments.datahub_root.absolute(),
        dsl_path=None if arguments.dsl_path is None else arguments.dsl_path.absolute(),
        overlays=overlays,
    )
    results = resolve(core.results_root) if arguments.results_root is None else arguments.results_root.absolute()
    given = {name: _plain(value) for name, value in vars(arguments).items()}
    return BacktestSettings(request, results, arguments.overwrite, given)


def _plain(value: Any) -> Any:
    return (
        [_plain(item) for item in value]
        if isinstance(value, list)
        else str(value)
        if isinstance(value, Path)
        else value
    )


def storable(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters as JSON can hold them: infinities as text."""
    return {
        name: repr(value) if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in params.items()
    }


def as_text(value: Any) -> str:
    """Return a stored parameter as ``--param`` takes it."""
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def request_of(context: Mapping[str, Any], *, allow_modules: tuple[str, ...]) -> RunRequest:
    """Return the request that a run_context.json describes.

    `allow_modules` comes from today's settings and flags, never from the run folder: a folder that someone sends
    must not decide what is imported here.

    Raises
    ------
    RunError
        The context lacks something.
    """
    from ..engine.costs import Instrument

    try:
        stored = context["strategy"]
        params = {name: as_text(value) for name, value in stored["params"].items()}
        choice = choose_strategy(stored["source"] or stored["name"], params, {}, allow_modules=allow_modules)
        core = replace(build(CoreSettings, context["settings"], "run_context.json"), allow_modules=allow_modules)
        core, overlays = chosen_overlays(core, choice)
        return RunRequest(
            core=core,
            instruments={name: Instrument(**limits) for name, limits in context["instruments"].items()},
            timeframe=parse_timeframe(context["timeframe"]),
            factor_set=context["factor_set"],
            choice=choice,
            engine=checked_engine(context.get("engine"), choice, context.get("market", SPOT)),
            market=context.get("market", SPOT),
            symbols=tuple(context["symbols"]),
            start=parse_time(context["start"]),
            end=parse_time(context["end"]),
            data_root=resolve(context["inputs"]["data_root"]),
            datahub_root=resolve(context["inputs"]["datahub_root"]),
            last_bars={
                symbol: (facts.get("last_bar"), facts.get("end"))
                for symbol, facts in context["inputs"]["klines"].items()
            },
            overlays=overlays,
        )
    except (KeyError, TypeError, AttributeError) as error:
        run_id = context.get("run_id")
        raise RunError(f"run_context.json of {run_id} lacks {error}; the run cannot be replayed") from None
