"""The files of a report: fixed document, twins that hold what is drawn, pictures, no stale leftovers."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from factor_evaluation.report.figures import charts_of, spread
from factor_evaluation.report.month_figure import ic_by_month
from factor_evaluation.report.pictures import draw_pictures
from factor_evaluation.report.plotly_figure import cell_words
from factor_evaluation.report.write import Source, report_of, write_report

from .made_evaluation import horizon, made

SCHEMA = (
    "factor", "bar_freq", "start", "end", "symbols", "rows", "dropped", "horizons", "turnover", "rank_autocorrelation",
    "decay", "splits", "figures",
)  # fmt: skip


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reports") / "4h" / "momentum"
    evaluation = made(cost=0.001)
    write_report(report_of(evaluation, Source("run_1")), folder)
    return evaluation, folder, json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))


def test_the_document_begins_with_the_fixed_keys(written):
    assert tuple(written[2])[: len(SCHEMA)] == SCHEMA


def test_every_chart_has_its_twin(written):
    evaluation, _, document = written
    assert set(document["figures"]) == set(charts_of(evaluation))
    bars = document["figures"]["quantile_bars"]["series"]
    for key, series in zip(evaluation.horizons, bars, strict=True):
        assert series["horizon"] == key
        np.testing.assert_allclose(series["y"], evaluation.horizons[key].quantile_mean, rtol=1e-6)
        stats = pytest.importorskip("scipy.stats")
        count, lag = len(evaluation.timestamp), 2 * (evaluation.horizons[key].bars - 1)
        half = stats.t.ppf(0.975, min(count - 1, 1.5 * count / (lag + 1))) * evaluation.horizons[key].quantile_std_error
        np.testing.assert_allclose(np.subtract(series["high"], series["y"]), half, rtol=1e-4)


def test_a_curve_keeps_its_ends_when_it_is_thinned(written):
    evaluation, _, document = written
    curve = document["figures"]["cumulative_ic"]["series"][0]
    values = evaluation.horizons["1"].rank_ic
    assert len(curve["y"]) == 500 < len(values)
    assert curve["y"][0] == pytest.approx(values[0], rel=1e-6)
    assert curve["y"][-1] == pytest.approx(np.nansum(values), rel=1e-6)


def test_months_are_calendar_months(written):
    evaluation, _, document = written
    heat = document["figures"]["ic_by_month"]["heatmaps"][0]
    result = evaluation.horizons["1"]
    inside = evaluation.timestamp.astype("datetime64[M]") == np.datetime64("2024-03")
    place = heat["columns"].index("Mar")
    assert heat["cells"][heat["rows"].index("2024")][place] == pytest.approx(result.rank_ic[inside].mean(), rel=1e-6)
    assert heat["cells"][0][heat["columns"].index("Dec")] is None


def test_few_days_are_shown_by_hour():
    chart = ic_by_month(made(rows=60))
    assert chart.heats[0].columns == ("00 h", "04 h", "08 h", "12 h", "16 h", "20 h")
    assert chart.heats[0].rows[0] == "2024-01-30"


def test_pictures_are_png(written):
    pictures = sorted(path.name for path in written[1].glob("*.png"))
    assert pictures == ["coverage.png", "cumulative_ic.png", "decay.png", "ic_by_month.png", "quantile_bars.png",
                        "quantile_cumulative.png", "spread.png"]  # fmt: skip
    assert all((written[1] / name).read_bytes()[:8] == b"\x89PNG\r\n\x1a\n" for name in pictures)


def test_an_evaluation_as_json_leaves_no_older_page_beside_it(tmp_path):
    write_report(report_of(made(rows=120), Source("run_1")), tmp_path / "f")
    write_report(report_of(made(rows=120), Source("run_1")), tmp_path / "f", html=False)
    assert [path.name for path in (tmp_path / "f").iterdir()] == ["evaluation.json"]


def test_the_same_evaluation_gives_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        write_report(report_of(made(rows=120), Source("run_1")), tmp_path / name / "f")
    for path in (tmp_path / "a").rglob("*.*"):
        assert path.read_bytes() == (tmp_path / "b" / path.relative_to(tmp_path / "a")).read_bytes()


def test_nothing_but_missing_values_is_a_report_too(tmp_path):
    empty = horizon("1", 1, 40)
    nothing = np.full(40, np.nan)
    blank = {
        "ic": nothing, "rank_ic": nothing, "spread": nothing, "spread_cumulative": nothing, "net_cumulative": nothing,
        "quantile_return": np.full((40, 5), np.nan), "quantile_cumulative": np.full((40, 5), np.nan),
        "quantile_mean": np.full(5, np.nan), "quantile_std_error": np.full(5, np.nan), "turnover": np.full(5, np.nan),
        "rank_autocorrelation": np.nan, "monotonicity_p": np.nan, "break_even_cost": np.nan, "net_spread": np.nan,
    }  # fmt: skip
    from dataclasses import replace

    from .made_evaluation import summary

    facts = {name: summary(nothing) for name in ("ic_summary", "rank_ic_summary", "spread_summary")}
    evaluation = made(rows=40, horizons=(("1", 1),))
    evaluation = replace(evaluation, horizons={"1": replace(empty, **blank, **facts)}, splits={})
    document = write_report(report_of(evaluation, Source("run_1")), tmp_path / "f")
    assert document["verdict"]["level"] == "unknown"
    page = (tmp_path / "f" / "evaluation.html").read_text(encoding="utf-8")
    assert "Without a value, and so not shown" in page
    assert "nan" not in page.split("<main>")[1].lower().replace("finan", "")


def test_the_spread_is_drawn_in_the_direction_that_earns():
    evaluation = made(mean=-0.05, horizons=(("1", 1),), cost=0.001)
    result = evaluation.horizons["1"]
    assert result.spread_summary.mean < 0
    gross, net = spread(evaluation).series
    assert (gross.name, net.name) == ("lowest minus highest, before cost", "after cost of 0.1 %")
    assert gross.y[-1] == pytest.approx(np.prod(1 - result.spread) - 1, rel=1e-6)


def test_over_time_no_bar_is_said_to_have_a_correlation():
    across, along = (charts_of(made(kind=kind, cost=0.001)) for kind in ("cross_section", "time_series"))
    for name in ("ic_series", "autocorrelation_over_time"):
        assert (across[name].y_title in ("rank IC", "correlation"), along[name].y_title) == (True, "what a bar adds")
    assert "names" in across["turnover"].caption
    assert "names" not in along["turnover"].caption
    assert set(across) - set(along) == {"quantile_cumulative", "spread", "net_per_bar"}


def test_a_picture_names_a_horizon_where_it_shows_one(monkeypatch):
    monkeypatch.setattr("factor_evaluation.report.pictures.picture", lambda chart, subtitle: subtitle.encode())
    found = dict(draw_pictures(charts_of(made()), "1d", "momentum", "4h bars"))
    assert found["quantile_bars"] == "momentum · horizon 1d · 4h bars".encode()
    assert found["decay"] == found["coverage"] == "momentum · 4h bars".encode()


def test_a_month_of_few_bars_does_not_make_all_others_pale():
    """The first month has 12 bars; the one with a rank IC, of 0.9, would set the colours of all."""
    evaluation = made()
    ic = np.full(900, 0.02)
    ic[0], ic[1:12] = 0.9, np.nan
    result = replace(evaluation.horizons["1"], rank_ic=ic)
    chart = ic_by_month(replace(evaluation, horizons={"1": result}))
    assert chart.heats[0].span == pytest.approx((-0.02, 0.02))
    assert max(value for row in chart.heats[0].cells for value in row if value is not None) == 0.9


def test_the_numbers_of_a_heat_map_fit_into_its_cells():
    wide, fixed = ic_by_month(made()), replace(ic_by_month(made()), span=(-1.0, 1.0))
    assert [cell_words(value, wide) for value in (-0.0312, 0.5, 1.0)] == ["−.031", ".500", "1.000"]
    assert [cell_words(value, fixed) for value in (-0.0312, 0.5, 1.0)] == ["−.03", ".50", "1.00"]


def test_the_page_says_what_each_horizon_lacks(tmp_path):
    write_report(report_of(made(dropped={"factor missing": 7}), Source("run_1")), tmp_path / "4h" / "a")
    page = (tmp_path / "4h" / "a" / "evaluation.html").read_text(encoding="utf-8")
    assert "<td>factor missing: 7, no forward return: 6 to 108, by horizon</td>" in page


def test_a_regime_says_what_it_is():
    evaluation = made()
    split = evaluation.splits["regime"]
    chart = charts_of(replace(evaluation, splits={"volatility": split}))["split_volatility"]
    assert "the benchmark's volatility over the last 30 days" in chart.caption
