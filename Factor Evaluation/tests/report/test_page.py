"""evaluation.html in a browser: offline, without a complaint, every chart drawn, names as text."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from factor_evaluation.measures.evaluation import Split, SplitPart
from factor_evaluation.report.page import SCRIPT, data_block
from factor_evaluation.report.plotly_figure import NO_WHISKER, figure
from factor_evaluation.report.split_figures import split_chart
from factor_evaluation.report.write import Source, report_of, write_report

from .browser import opened
from .made_evaluation import made, summary

EVIL = "<script>document.title='taken'</script>"
CLICK = """
addEventListener("load", function () {
  document.querySelector('[data-horizon="18"]').click();
  document.documentElement.dataset.ends =
    document.querySelectorAll('[data-chart="quantile_bars"] .errorbar path').length;
  document.documentElement.dataset.seen = document.querySelector('[data-chart="quantile_bars"]').data[0].meta;
  function crossed(chart) {
    var title = chart.querySelector(".ytitle");
    if (!title) { return false; }
    var end = title.getBoundingClientRect().right;
    return Array.prototype.some.call(chart.querySelectorAll(".ytick text"), function (tick) {
      return tick.getBoundingClientRect().left < end;
    });
  }
  setTimeout(function () {
    var found = Array.prototype.filter.call(document.querySelectorAll("[data-chart]"), crossed);
    document.documentElement.dataset.crossed =
      found.map(function (chart) { return chart.dataset.chart; }).join(" ") || "none";
  }, 1000);
});
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reports") / "4h" / "evil"
    evaluation = made(factor=EVIL, symbols=(EVIL, "BBBUSDT", "CCCUSDT"), label=EVIL, cost=0.001, notes=(EVIL,))
    hollow = evaluation.horizons["18"].quantile_return.copy()
    hollow[1:, 1] = np.nan  # the second quantile holds names on one bar only: nothing says how sure its mean is
    last = replace(evaluation.horizons["18"], quantile_return=hollow, quantile_cumulative=np.full(hollow.shape, np.nan))
    evaluation = replace(evaluation, horizons={**evaluation.horizons, "18": last})
    source = Source("run_1", synthetic=True, expression=EVIL, links=((EVIL, "x.html"),))
    write_report(report_of(evaluation, source), folder)
    return folder


@pytest.fixture(scope="module")
def page(folder, tmp_path_factory):
    (folder / "click.js").write_text(CLICK)
    text = (folder / "evaluation.html").read_text(encoding="utf-8")
    clicked = folder / "clicked.html"
    clicked.write_text(text.replace("</head>", '<script src="click.js"></script></head>'), encoding="utf-8")
    return opened(clicked, tmp_path_factory.mktemp("profile"))


def test_the_page_draws_every_chart_without_a_complaint(page, folder):
    document = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))
    assert page.console == ()
    assert 'data-drawn="yes"' in page.dom
    assert page.dom.count('class="plot-container plotly"') == len(document["figures"]) > 10


def test_names_are_text_in_the_browser(page):
    assert "<title>taken" not in page.dom
    assert "<h1>&lt;script&gt;document.title='taken'&lt;/script&gt;</h1>" in page.dom
    ticks = re.findall(r"<g class=\"ytick\">.*?</g>", page.dom, re.DOTALL)
    assert any("&lt;script&gt;" in tick for tick in ticks)  # a symbol's name beside the coverage heat map


def test_a_click_shows_another_horizon(page):
    assert 'data-seen="18"' in page.dom
    assert re.search(r'<button[^>]*data-horizon="18"[^>]*aria-pressed="true"', page.dom)


def test_a_mean_without_an_interval_has_no_whisker(page):
    assert re.findall(r'data-ends="([^"]*)"', page.dom) == ["4"]


def test_a_chart_without_a_value_at_a_horizon_says_so(page):
    assert page.dom.count(">no value at this horizon<") == 1


def test_no_axis_has_its_title_across_its_numbers(page):
    assert re.findall(r'data-crossed="([^"]*)"', page.dom) == ["none"]


def test_the_page_names_nothing_outside_the_reports_folder(folder):
    text = (folder / "evaluation.html").read_text(encoding="utf-8")
    assert re.findall(r'<script src="([^"]*)"', text) == [f"../{SCRIPT}"]
    assert (folder.parent / SCRIPT).stat().st_size > 1_000_000
    assert not re.search(r"https?://", text)


def test_a_report_of_a_simulated_market_says_so(folder):
    text = (folder / "evaluation.html").read_text(encoding="utf-8")
    assert "Synthetic market." in text
    assert json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))["synthetic"] is True


def test_data_blocks_hold_no_markup_and_are_json():
    value = {"a": "</script><!-- & \u2028", "b": [1.5, None]}
    text = str(data_block(value))
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == value


def test_plotly_itself_accepts_every_figure():
    graph_objects = pytest.importorskip("plotly.graph_objects")
    from factor_evaluation.report.figures import charts_of

    for chart in charts_of(made(cost=0.002)).values():
        graph_objects.Figure(figure(chart))  # raises on a property that plotly does not know


def test_parts_have_the_whiskers_of_their_t_and_a_single_bar_none():
    """A part has no bootstrap interval; mean 0.02, t 4 and 9 bars leave 0.02 plus or minus 2.306 (Student, 8) x 0.005.

    At lag 166, of a horizon longer than the part, there are too few bars for an error, whatever t says.
    """
    some = replace(summary(np.arange(9.0)), mean=0.02, t_newey_west=4.0, interval=(np.nan, np.nan))
    alone, short = replace(some, t_newey_west=np.nan), replace(some, t_newey_west=192.0, lag=166)
    cases = (("a", some), ("b", alone), ("c", short))
    parts = tuple(SplitPart(label, 9, {}, {"1": one}, {}) for label, one in cases)
    chart = split_chart(Split("month", parts, {}), "month")
    bars = figure(chart)["data"][0]["error_y"]
    for side in ("array", "arrayminus"):
        assert bars[side] == [pytest.approx(2.306 * 0.005, rel=1e-4), NO_WHISKER, NO_WHISKER]
