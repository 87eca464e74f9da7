"""factors.html: several factors in a browser, with names as text; its twin."""

from __future__ import annotations

import json

import numpy as np
import pytest
from factor_evaluation.measures.family import Family
from factor_evaluation.measures.ledger import Corrected
from factor_evaluation.report.comparison import Compared, write_comparison
from factor_evaluation.report.write import Source, report_of

from .browser import opened
from .made_evaluation import made

EVIL = "<script>document.title='taken'</script>"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    names = ("first", EVIL, "third")
    reports = {name: report_of(made(factor=name, rows=200), Source("run_1", synthetic=True)) for name in names}
    trials = {
        name: {key: Corrected(p, 2 * p, 3 * p, 9) for key in report.p_values}
        for p, (name, report) in zip((0.02, 0.01, np.nan), reports.items(), strict=True)
    }
    table = np.array([[1.0, 0.1, 0.9], [0.1, 1.0, np.nan], [0.9, np.nan, 1.0]])
    summary = made().horizons["1"].rank_ic_summary
    family = Family(names, table, (0, 1, 0), dict.fromkeys(names, summary), 1234)
    folder = tmp_path_factory.mktemp("reports") / "4h"
    folder.mkdir()
    write_comparison(Compared(reports, trials, family, "1"), folder)
    return folder


def test_the_page_is_drawn_and_names_are_text(folder, tmp_path):
    page = opened(folder / "factors.html", tmp_path)
    assert page.console == ()
    assert page.dom.count('class="plot-container plotly"') == 2
    assert "<title>Factors (synthetic)</title>" in page.dom
    assert f">{EVIL.replace('<', '&lt;').replace('>', '&gt;')}</a>" in page.dom
    assert "taken%27%3C/script%3E/evaluation.html" in page.dom


def test_the_best_factor_comes_first_and_one_without_a_p_value_last(folder):
    text = (folder / "factors.html").read_text(encoding="utf-8")
    places = [text.index(f">{name}</a>") for name in ("&lt;script&gt;document.title=&#39;taken&#39;&lt;/script&gt;",
                                                    "first", "third")]  # fmt: skip
    assert places == sorted(places)


def test_clusters_stand_side_by_side_in_the_map_and_as_given_in_the_twin(folder):
    twin = json.loads((folder / "factors.json").read_text(encoding="utf-8"))
    assert twin["figures"]["correlation"]["heatmaps"][0]["rows"] == ["first", "third", EVIL]
    assert twin["figures"]["correlation"]["heatmaps"][0]["cells"][0] == [1.0, 0.9, 0.1]
    assert twin["correlation"] == {
        "names": ["first", EVIL, "third"], "cells": [[1.0, 0.1, 0.9], [0.1, 1.0, None], [0.9, None, 1.0]]
    }  # fmt: skip
    assert twin["trials"] == 9
    assert twin["factors"]["first"]["trials"]["1"] == {
        "p_value": 0.02, "benjamini_hochberg": 0.04, "benjamini_yekutieli": 0.06
    }  # fmt: skip


def test_what_is_added_says_of_how_many_pairs(folder):
    twin = json.loads((folder / "factors.json").read_text(encoding="utf-8"))
    assert twin["incremental_pairs"] == 1234
    assert "over the 1,234 (bar, symbol) pairs that have every factor" in twin["figures"]["incremental"]["caption"]
