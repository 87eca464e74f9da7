"""``run_backtest --engine``: what is published, compared and refused, with strategies of ours and of the user's."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from Backtest import run_backtest
from Backtest.analyze_run import command as analyze
from Backtest.engine import numba
from Backtest.results import run_folders
from Backtest.run_backtest import command
from Backtest.runs.request import ENGINES
from Backtest.tests.fake_market import Market, make_market

OWN = "Backtest.tests.sample_strategy"
TABLES = ("orders.csv", "equity_curve.csv", "positions.csv", "trades.json", "metrics.json")


@pytest.fixture(scope="module")
def market(tmp_path_factory) -> Market:
    return make_market(tmp_path_factory.mktemp("engines"))


@pytest.fixture(autouse=True)
def without_pictures(monkeypatch):
    monkeypatch.setattr("Backtest.simulate.draw_all", lambda *_: {})


def published(market: Market, capsys, *more: str, strategy: str = "topk") -> Path:
    code = command(market.arguments(*more, strategy=strategy))
    out, err = capsys.readouterr()
    assert code == 0, err
    return Path(json.loads(out)["path"])


def context_of(folder: Path) -> dict:
    return json.loads((folder / "run_context.json").read_text(encoding="utf-8"))


def test_the_command_knows_the_engines_that_the_request_knows():
    assert run_backtest.ENGINES == ENGINES


@pytest.mark.parametrize("strategy, more", [("topk", ("--param", "k=2")), ("longshort", ()), ("signal", ())])
def test_every_engine_publishes_the_same_bytes_and_is_verified(market, capsys, strategy, more):
    folders = {name: published(market, capsys, *more, "--engine", name, strategy=strategy) for name in ENGINES}
    for name, folder in folders.items():
        assert context_of(folder)["engine"] == name
        for table in TABLES:
            assert (folder / table).read_bytes() == (folders["backtrader"] / table).read_bytes(), (name, table)
        assert analyze(["--verify", folder.name, "--results-root", str(market.results)]) == 0
        assert "identical" in capsys.readouterr().out


def test_a_user_s_dataclass_runs_on_both_engines(market, capsys):
    words = ("--allow-module", OWN, "--param", "weight=0.15")
    folder = published(market, capsys, *words, "--engine", "both", strategy=f"{OWN}:RisingShare")
    context = context_of(folder)
    assert folder.parent.name == "RisingShare"
    assert context["strategy"] == {
        "name": "RisingShare", "source": f"{OWN}:RisingShare",
        "params": {"factor": "mom", "weight": 0.15, "rebalance": "6", "volatility_days": 0.0, "wanted": 0},
    }  # fmt: skip
    assert len((folder / "orders.csv").read_text().splitlines()) > 50
    verify = ["--verify", folder.name, "--results-root", str(market.results)]
    assert analyze([*verify, "--allow-module", OWN]) == 0
    assert analyze(verify) == 2  # today's allow-list decides, not the folder's
    assert f"module '{OWN}' is not allowed" in capsys.readouterr().err


def test_a_disagreement_is_one_line_and_nothing_is_published(market, capsys, monkeypatch):
    before = len(run_folders(market.results))
    honest = numba.run

    def biased(*arguments, **more):
        record = honest(*arguments, **more)
        orders = list(record.orders)
        orders[7] = dataclasses.replace(orders[7], size=orders[7].size * (1 + 1e-6))
        return dataclasses.replace(record, orders=tuple(orders))

    monkeypatch.setattr(numba, "run", biased)
    assert command(market.arguments("--param", "k=2", "--engine", "both")) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert "the engines disagree, nothing is published: order 8, size: filled" in lines[-1]
    assert len(run_folders(market.results)) == before
    assert command(market.arguments("--param", "k=2", "--engine", "numba")) == 0  # alone it cannot know


@pytest.mark.parametrize("engine", ["numba", "both"])
def test_a_backtrader_class_is_refused_on_the_compiled_engine(market, capsys, engine):
    words = ("--engine", engine, "--allow-module", OWN)
    assert command(market.arguments(*words, strategy=f"{OWN}:BuyRising")) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert f"--engine {engine}: {OWN}:BuyRising is a backtrader.Strategy; only backtrader runs it" in line


@pytest.mark.parametrize(
    "name, words",
    [
        ("Stumbles", "strategy Stumbles: target_weights raised AttributeError: 'CrossSection' object has no attribute"),
        ("Changeable", "is not a frozen dataclass; write @dataclass(frozen=True) above the class"),
        ("Unfinished", "lacks rebalance, volatility_days, wanted; needed are factor, rebalance"),
        ("RisingShares", "did you mean 'RisingShare'"),
    ],
)
@pytest.mark.parametrize("engine", ENGINES)
def test_what_is_wrong_with_a_user_s_class_is_one_line(market, capsys, name, words, engine):
    assert command(market.arguments("--engine", engine, "--allow-module", OWN, strategy=f"{OWN}:{name}")) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert words in line


def test_a_run_made_before_there_were_engines_is_verified_on_backtrader(market, capsys, monkeypatch):
    folder = published(market, capsys, "--param", "k=3")
    context = context_of(folder)
    del context["engine"]
    (folder / "run_context.json").write_text(json.dumps(context), encoding="utf-8")
    monkeypatch.setattr(numba, "run", None)
    assert analyze(["--verify", folder.name, "--results-root", str(market.results)]) == 0


OVERLAYS = ("--overlay", "max_gross:cap=0.6", "--overlay", "trailing_stop:pct=0.02,cooldown=3", "--overlay",
            "vol_target:annual=0.5,days=5")  # fmt: skip


@pytest.mark.parametrize("strategy, more", [
    ("topk", ("--param", "k=2")), ("longshort", ()), ("signal", ()),
    (f"{OWN}:RisingShare", ("--allow-module", OWN)),
])  # fmt: skip
def test_overlays_give_the_same_bytes_on_every_engine_are_recorded_and_verified(market, capsys, strategy, more):
    folders = {name: published(market, capsys, *more, *OVERLAYS, "--engine", name, strategy=strategy)
               for name in ENGINES}  # fmt: skip
    allowed = more if OWN in more else ()
    for folder in folders.values():
        assert context_of(folder)["settings"]["overlays"] == [
            "trailing_stop:pct=0.02,after=0.0,cooldown=3", "vol_target:annual=0.5,days=5.0,max_scale=1.0",
            "max_gross:cap=0.6",
        ]  # fmt: skip
        for table in TABLES:
            assert (folder / table).read_bytes() == (folders["backtrader"] / table).read_bytes(), table
        assert analyze(["--verify", folder.name, "--results-root", str(market.results), *allowed]) == 0
        assert "identical" in capsys.readouterr().out
    assert ",trailing_stop,filled," in (folder / "orders.csv").read_text()
    curve = (folder / "equity_curve.csv").read_text().splitlines()
    gross = [float(line.split(",")[3]) for line in curve[1:]]
    assert 0.3 < max(gross) < 0.68  # 0.6 at a rebalance, and what prices add until the next
    assert analyze(["--run-id", folder.name, "--results-root", str(market.results)]) == 0
    assert "overlays    trailing_stop:pct=0.02,after=0.0,cooldown=3  vol_target:annual" in capsys.readouterr().out
    assert "max_gross:cap=0.6" in (folder / "report.html").read_text(encoding="utf-8")


def test_the_volatility_target_reads_the_bars_before_the_window(market, capsys):
    words = ("--param", "k=2", "--param", "rebalance=1", "--overlay", "vol_target:annual=0.5,days=5")
    whole = published(market, capsys, *words)
    bars = (whole / "equity_curve.csv").read_text().splitlines()
    start = bars[1 + len(bars) // 2].split(",")[0]
    for folder, known in ((whole, False), (published(market, capsys, *words, "--start", start), True)):
        told = "\n".join(context_of(folder)["warnings"])
        assert known != ("vol_target: the volatility was not known" in told)


def test_overlays_stand_in_the_settings_and_the_command_line_replaces_them(market, capsys, tmp_path):
    config = tmp_path / "core.yaml"
    own = market.config.read_text(encoding="utf-8")
    config.write_text(f"{own}overlays:\n  - stop_loss:pct=0.05\n  - max_gross:cap=0.5\n")
    for words, expected in (
        ((), ["stop_loss:pct=0.05,cooldown=0", "max_gross:cap=0.5"]),
        (("--overlay", "max_gross:cap=0.7"), ["max_gross:cap=0.7"]),
        (("--overlay", "none"), []),
    ):
        folder = published(market, capsys, "--param", "k=2", *words, "--config", str(config))
        assert context_of(folder)["settings"]["overlays"] == expected


@pytest.mark.parametrize(
    "word, told",
    [
        ("stop_los:pct=0.1", "overlay 'stop_los:pct=0.1': 'stop_los' is not known; did you mean 'stop_loss'"),
        ("stop_loss:pct=2,cooldwn=1", "'cooldwn' is not a parameter; did you mean 'cooldown'"),
        ("stop_loss:pct=0", "pct is 0.0; allowed is 1e-06 to 100"),
    ],
)
def test_what_is_wrong_with_an_overlay_is_one_line_before_anything_is_read(market, capsys, word, told):
    before = len(run_folders(market.results))
    assert command(market.arguments("--overlay", word)) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert told in line
    assert len(run_folders(market.results)) == before


def test_a_backtrader_class_takes_no_overlays(market, capsys):
    words = ("--allow-module", OWN, "--overlay", "stop_loss:pct=0.1")
    assert command(market.arguments(*words, strategy=f"{OWN}:BuyRising")) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert f"overlays stop_loss:pct=0.1: {OWN}:BuyRising is a backtrader.Strategy, whose orders are its own" in line
