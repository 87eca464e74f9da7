"""report.html: whole, self-contained, escaped."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser

import pytest

from Backtest.metrics import METRICS, SPOT_METRICS
from Backtest.report.html import report_html
from Backtest.report.plots import PLOTS, Subject, draw_all
from Backtest.tests.fake_run import outcome_of, simulated
from Backtest.trades import round_trips

EVIL = "<script>alert('x')</script>\"'&"


def context(**changes):
    return {
        "run_id": "20240101T000000Z-abcdef12", "created_at": "2024-01-01T00:00:00Z", "synthetic": False,
        "strategy": {"name": "topk", "params": {"factor": "mom", "k": 2, "weight": None}}, "factor_set": "mom_v1",
        "timeframe": "4h", "start": "2023-01-01T00:00:00Z", "end": "2023-02-01T00:00:00Z", "symbols": ["BTCUSDT"],
        "inputs": {"dsl_sha1": "ab" * 20, "data_root": "/data"},
        "settings": {"commission": 0.001, "slippage": 0.001}, **changes,
    }  # fmt: skip


@pytest.fixture(scope="module")
def outcome():
    return outcome_of(*simulated(300, 4))


@pytest.fixture(scope="module")
def plots(outcome):
    return draw_all(outcome, Subject("topk", "mom_v1", "id", "BTCUSDT", synthetic=False))


def page_of(outcome, plots, *, notes=(), trades=None, **changes):
    trades = round_trips(outcome.record) if trades is None else trades
    return report_html(context(**changes), outcome.metrics, plots=plots, trades=trades, notes=notes)


class Tags(HTMLParser):
    """Collects tags with their attributes, and checks that they close."""

    EMPTY = frozenset(("meta", "img", "br", "link", "input", "hr"))

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[tuple[str, dict]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data.strip())


def test_every_metric_is_there_with_its_formula(outcome, plots):
    tags = Tags(page_of(outcome, plots))
    formulas = {attrs["title"] for tag, attrs in tags.found if tag == "span" and "title" in attrs}
    assert formulas == {METRICS[name].formula for name in SPOT_METRICS}
    assert {name.replace("_", " ") for name in SPOT_METRICS} <= set(tags.words)
    assert tags.open == []


def test_it_opens_offline(outcome, plots):
    text = page_of(outcome, plots)
    tags = Tags(text)
    sources = [str(attrs["src"]) for tag, attrs in tags.found if tag == "img"]
    assert len(sources) == len(PLOTS)
    for source, content in zip(sources, plots.values(), strict=True):
        assert base64.b64decode(source.removeprefix("data:image/png;base64,")) == content
    assert not re.search(r"https?:|//cdn|@import|url\(", text)
    assert {tag for tag, _ in tags.found}.isdisjoint({"script", "iframe", "link", "object", "base", "form"})


def test_markup_is_escaped_everywhere(outcome, plots):
    trade = round_trips(outcome.record)[0] | {"symbol": EVIL, "side": EVIL, "opened_at": EVIL}
    text = page_of(
        outcome, plots, notes=[EVIL], trades=[trade | {"status": "closed"}], run_id=EVIL, factor_set=EVIL,
        symbols=[EVIL], strategy={"name": EVIL, "params": {EVIL: EVIL}}, inputs={"dsl_sha1": EVIL, "data_root": EVIL},
    )  # fmt: skip
    tags = Tags(text)
    assert "script" not in {tag for tag, _ in tags.found}
    assert all(not name.startswith("on") for _, attrs in tags.found for name in attrs)
    assert "".join(tags.words).count("<script>alert('x')</script>") >= 10


def test_synthetic_runs_say_so(outcome, plots):
    assert "Synthetic market." in page_of(outcome, plots, synthetic=True)
    assert "ynthetic" not in page_of(outcome, plots)


def test_a_ruined_run_says_so_at_the_top(outcome, plots):
    text = page_of(outcome, plots, ruined=True)
    assert "<strong>Ruined.</strong> Equity reached zero" in text
    assert text.index("Ruined.") < text.index('class="cards"')
    assert "Ruined" not in page_of(outcome, plots, ruined=False)
    assert "Ruined" not in page_of(outcome, plots)  # a run made before the context told


def test_labels_of_metrics_break_between_words_only(outcome, plots):
    rules = re.findall(r"\.metrics th \{([^}]*)\}", page_of(outcome, plots))
    assert rules
    assert not any("anywhere" in rule or "break-all" in rule for rule in rules)


def test_a_run_without_trades_has_a_report(outcome, plots):
    text = page_of(outcome, plots, trades=[])
    assert "round trips" not in text


def test_best_and_worst_trades_are_the_best_and_the_worst(outcome, plots):
    trades = [trade for trade in round_trips(outcome.record) if trade["status"] == "closed"]
    profits = sorted(trade["net_pnl"] for trade in trades)
    words = Tags(page_of(outcome, plots)).words
    assert f"{profits[-1]:,.2f}" in words
    assert f"{profits[0]:,.2f}" in words


def test_names_of_other_scripts_are_kept(outcome, plots):
    assert "策略é" in page_of(outcome, plots, factor_set="策略é")
