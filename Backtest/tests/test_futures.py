"""``run_backtest --market um``: what is published, read again, verified and refused."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest

from Backtest import cli
from Backtest.analyze_run import command as analyze
from Backtest.engine.futures.terms import MARGIN_MODES
from Backtest.metrics import METRICS
from Backtest.results import read_run
from Backtest.run_backtest import command
from Backtest.runs.request import MARKETS
from Backtest.runs.reread import redraw, reread
from Backtest.tests.fake_market import BARS, FIRST, SYMBOLS, TIMEFRAME, Market, make_market

WITHOUT = "ADAUSDT"
"""Has no funding file."""

WATERFALL = ("gross", "fees", "slippage", "funding", "liquidation")
TABLES = ("orders.csv", "equity_curve.csv", "positions.csv", "trades.json", "metrics.json")


@pytest.fixture(scope="module")
def market(tmp_path_factory) -> Market:
    """The fake market with funding every 8 hours, some milliseconds late, with a mark on every other stamp."""
    made = make_market(tmp_path_factory.mktemp("um"))
    folder = made.data_root / "funding"
    folder.mkdir()
    draw = np.random.default_rng(3)
    for symbol in SYMBOLS:
        if symbol != WITHOUT:
            stamps = [
                TIMEFRAME.open_ns(FIRST + bar) // 1_000_000 + int(draw.integers(0, 9)) for bar in range(0, BARS, 2)
            ]
            rows = [
                f"{stamp},{symbol},{draw.normal(0, 0.0005):.8f},{'' if n % 2 else f'{draw.uniform(20, 90):.4f}'}"
                for n, stamp in enumerate(stamps)
            ]
            text = "\n".join(["fundingTime,symbol,fundingRate,markPrice", *rows])
            (folder / f"{symbol}.csv").write_text(text + "\n", encoding="utf-8")
    return made


@pytest.fixture(autouse=True)
def without_pictures(monkeypatch):
    monkeypatch.setattr("Backtest.simulate.draw_all", lambda *_: {})
    monkeypatch.setattr("Backtest.runs.reread.draw_all", lambda *_: {})


def published(market: Market, capsys, *more: str, strategy: str = "longshort") -> Path:
    code = command(market.arguments("--market", "um", *more, strategy=strategy))
    out, err = capsys.readouterr()
    assert code == 0, err
    return Path(json.loads(out)["path"])


def refused(market: Market, capsys, *more: str, strategy: str = "longshort") -> str:
    assert command(market.arguments(*more, strategy=strategy)) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    return line


def rows_of(folder: Path, name: str) -> list[dict[str, str]]:
    with open(folder / name, encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


WILD = (
    "--leverage", "10", "LUNA=5", "--param", "k=1", "--param", "gross_leverage=8", "--param", "max_weight=4",
    "--param", "rebalance=1w", "--param", "ascending=true",
)  # fmt: skip


def test_the_command_knows_what_the_request_knows():
    assert cli.MARKETS == MARKETS
    assert cli.MARGIN_MODES == MARGIN_MODES


@pytest.mark.parametrize("mode", MARGIN_MODES)
def test_a_run_folder_of_futures(market, capsys, mode):
    folder = published(market, capsys, *WILD, "--margin-mode", mode)
    run = read_run(folder)
    metrics, context = run.metrics, run.context
    assert list(metrics) == list(METRICS)
    parts = [metrics[f"waterfall_{name}"] for name in WATERFALL]
    scale = metrics["turnover"] * metrics["initial_cash"]
    assert math.isclose(math.fsum(parts), metrics["waterfall_net"], abs_tol=1e-9 * scale)
    assert metrics["waterfall_net"] == metrics["final_equity"] - metrics["initial_cash"]
    orders = rows_of(folder, "orders.csv")
    flows = [float(row["value"]) for row in orders if row["reason"] == "funding"]
    assert {row["size"] for row in orders if row["reason"] == "funding"} == {"0.0"}
    assert len(flows) > 50
    assert math.fsum(flows) == pytest.approx(metrics["funding_received"] - metrics["funding_paid"], abs=1e-9)
    assert all(name in metrics and metrics[name] > 0 for name in ("funding_paid", "funding_received"))
    struck = [row for row in orders if row["reason"] == "liquidation"]
    assert metrics["num_liquidations"] == len(struck) > 0
    curve = rows_of(folder, "equity_curve.csv")
    used = [float(row["initial_margin"]) / float(row["equity"]) if float(row["equity"]) > 0 else 0.0 for row in curve]
    assert metrics["margin_utilization_max"] == pytest.approx(max(used))
    assert metrics["margin_utilization_mean"] == pytest.approx(math.fsum(used) / len(used))
    assert min(float(row["cash"]) for row in curve) >= 0
    trips = json.loads((folder / "trades.json").read_text(encoding="utf-8"))
    assert math.fsum(trip["net_pnl"] for trip in trips) == pytest.approx(metrics["waterfall_net"], abs=1e-6)
    assert math.fsum(trip["funding"] for trip in trips) == pytest.approx(math.fsum(flows), abs=1e-9)
    assert (context["market"], context["engine"], context["settings"]["margin_mode"]) == ("um", "numba", mode)
    assert context["instruments"]["LUNAUSDT"]["leverage"] == 5.0
    assert set(context["inputs"]["futures"]["funding"]) == set(SYMBOLS) - {WITHOUT}
    assert any(f"funding of {WITHOUT} is unknown" in line and "no funding file" in line for line in context["warnings"])
    assert any("use the entry 'default'" in line and "BTCUSDT" not in line for line in context["warnings"])


def test_a_run_is_read_again_shown_compared_and_verified(market, capsys):
    folder = published(market, capsys, *WILD)
    run = read_run(folder)
    again = reread(run)
    assert again.record.used_margin is not None
    assert [row.name for row in redraw(run)] == ["report.html"]
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "um (USDT-M futures), cross margin, leverage 10, LUNAUSDT 5" in page
    worst = min(json.loads((folder / "trades.json").read_text(encoding="utf-8")), key=lambda trip: trip["net_pnl"])
    assert f"<td>{worst['exit_reason']}</td><td>{worst['net_pnl']:,.2f}</td>" in page
    assert "waterfall net" in page
    root = ["--results-root", str(market.results)]
    assert analyze(["--run-id", folder.name, *root]) == 0
    shown = capsys.readouterr().out
    assert "um (USDT-M futures), cross margin, leverage 10, LUNAUSDT 5" in shown
    assert "num liquidations" in shown
    assert analyze(["--verify", folder.name, *root]) == 0
    assert "equal, byte for byte" in capsys.readouterr().out
    other = published(market, capsys, *WILD, "--margin-mode", "isolated")
    assert analyze(["--compare", folder.name, other.name, *root]) == 0
    assert "settings.margin_mode" in capsys.readouterr().out


def test_commas_join_leverages_as_they_do_symbols(market, capsys):
    folder = published(market, capsys, "--leverage", "3,BTC=5", "ETH=4")
    context = read_run(folder).context
    own = {name: limits["leverage"] for name, limits in context["instruments"].items()}
    assert (context["settings"]["leverage"], own) == (3.0, {"BTCUSDT": 5.0, "ETHUSDT": 4.0})


def test_spot_says_nothing_of_futures(market, capsys):
    assert command(market.arguments(strategy="longshort")) == 0
    folder = Path(json.loads(capsys.readouterr().out)["path"])
    run = read_run(folder)
    assert "waterfall_gross" not in run.metrics
    assert "initial_margin" not in (folder / "equity_curve.csv").read_text(encoding="utf-8")
    assert run.context["market"] == "spot"
    assert "futures" not in run.context["inputs"]
    assert analyze(["--run-id", folder.name, "--results-root", str(market.results)]) == 0
    assert "waterfall" not in capsys.readouterr().out


def test_changed_funding_is_named_by_verify(market, capsys):
    folder = published(market, capsys, *WILD)
    path = market.data_root / "funding" / "BTCUSDT.csv"
    before = path.read_text(encoding="utf-8")
    lines = before.splitlines()
    cells = lines[40].split(",")
    try:
        changed = [*lines[:40], ",".join([*cells[:2], "0.02", *cells[3:]]), *lines[41:]]
        path.write_text("\n".join(changed) + "\n", encoding="utf-8")
        code = analyze(["--verify", folder.name, "--results-root", str(market.results)])
        out = capsys.readouterr().out
    finally:
        path.write_text(before, encoding="utf-8")
    assert "the funding of BTCUSDT is not what the run read" in out
    assert code in (0, 1)  # it diverges where BTCUSDT was held over that stamp
    try:
        path.write_text(before + "1700000000000,BTCUSDT,0.5,\n", encoding="utf-8")  # a file that only grew
        assert analyze(["--verify", folder.name, "--results-root", str(market.results)]) == 0
        assert "funding of BTCUSDT is not" not in capsys.readouterr().out
    finally:
        path.write_text(before, encoding="utf-8")


def test_an_experiment_is_told_by_its_market_and_leverage(market, capsys):
    runs = [published(market, capsys, "--leverage", x) for x in ("2", "2", "3")]
    hashes = [read_run(folder).context["experiment_sha256"] for folder in runs]
    assert hashes[0] == hashes[1] != hashes[2]


@pytest.mark.parametrize(
    "words, message",
    [
        (("--market", "um", "--engine", "backtrader"), "--market um --engine backtrader: Backtrader knows no margin"),
        (("--market", "um", "--engine", "both"), "--market um --engine both: Backtrader knows no margin"),
        (("--leverage", "3"), "--leverage 3: spot has none; add --market um"),
        (("--market", "um", "--leverage", "0.5"), "--leverage '0.5'; a number from 1 to 125"),
        (("--market", "um", "--leverage", "126"), "--leverage '126'; a number from 1 to 125"),
        (("--market", "um", "--leverage", "BTC=x"), "--leverage 'BTC=x'; a number from 1 to 125"),
        (("--market", "um", "--leverage", "5", "7"), "--leverage 7: 5 is given as well"),
        (("--market", "um", "--leverage", "5,BTC=0"), "--leverage 'BTC=0'; a number from 1 to 125"),
        (("--market", "um", "--leverage", "5,BTV=6"), "--leverage BTV=6: BTVUSDT is not in the run"),
        (("--market", "um", "--leverage", "BTC=5", "BTCUSDT=6"), "--leverage BTCUSDT=6: BTC=5 is given as well"),
        (
            ("--market", "um", "--leverage", "BTV=5"),
            "--leverage BTV=5: BTVUSDT is not in the run; did you mean 'BTCUSDT'",
        ),
        (("--margin-mode", "isolated"), "--margin-mode isolated: spot has none; add --market um"),
        (("--market", "um", "--leverage", "60"), "leverage of ADAUSDT is 60; 1 to 50 is allowed"),
        (("--param", "gross_leverage=11"), "gross_leverage is 11.0; spot allows 0 to 10 (more: --market um"),
    ],
)
def test_what_cannot_be_run_is_one_line(market, capsys, words, message):
    assert message in refused(market, capsys, *words)


def test_topk_invests_more_than_there_is_on_futures_only(market, capsys):
    words = ("--param", "k=2", "--param", "invest=3", "--param", "max_weight=1.5")
    assert "invest is 3.0; spot allows 0 to 1" in refused(market, capsys, *words, strategy="topk")
    folder = published(market, capsys, *words, "--leverage", "5", strategy="topk")
    gross = [float(row["gross_exposure"]) for row in rows_of(folder, "equity_curve.csv")]
    assert 2.9 < max(gross) < 4


def test_settings_of_futures(market, capsys, tmp_path):
    config = market.config.read_text(encoding="utf-8")

    def with_line(line: str) -> list[str]:
        path = tmp_path / "core.yaml"
        path.write_text(config + line + "\n", encoding="utf-8")
        return ["--config", str(path)]

    assert "margin_mode is 'both'" in refused(market, capsys, "--market", "um", *with_line("margin_mode: both"))
    assert "is unknown on" in refused(market, capsys, "--market", "um", *with_line("missing_funding: refuse"))
    assert "there is no such tier file" in refused(market, capsys, "--market", "um", *with_line("um_tiers: none.yaml"))
    folder = published(market, capsys, *with_line('funding_folder: ""'))
    assert read_run(folder).metrics["funding_paid"] == 0.0
    assert any("funding is off" in line for line in read_run(folder).context["warnings"])
    bad = market.data_root / "bad.csv"
    bad.write_text("timestamp,funding_rate,mark_price\n2023-01-05,0.001,-5\n", encoding="utf-8")
    for symbol in SYMBOLS:
        (market.data_root / "bad").mkdir(exist_ok=True)
        (market.data_root / "bad" / f"{symbol}.csv").write_text(bad.read_text(encoding="utf-8"), encoding="utf-8")
    line = refused(market, capsys, "--market", "um", *with_line("funding_folder: bad"))
    assert "funding of ADAUSDT" in line
    assert "the mark price of 2023-01-05T00:00:00Z is not positive" in line


def test_overlays_close_positions_of_futures(market, capsys):
    folder = published(
        market, capsys, "--leverage", "5", "--overlay", "stop_loss:pct=0.02", "--overlay", "max_gross:cap=2"
    )
    reasons = {row["reason"] for row in rows_of(folder, "orders.csv")}
    assert {"stop_loss", "funding"} <= reasons
    assert analyze(["--verify", folder.name, "--results-root", str(market.results)]) == 0
