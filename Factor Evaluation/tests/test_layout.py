"""Where things lie: a run is found with and without its id at the path's end, and what is absent names its step."""

from __future__ import annotations

import pytest
from factor_evaluation.layout import PARTS, new_run, require, require_factor, resolve_run

from Backtest.errors import NameRefused, RunError


@pytest.fixture
def out(tmp_path):
    (tmp_path / "out" / "demo_run" / "golden" / "3min").mkdir(parents=True)
    return tmp_path / "out"


def test_a_run_is_found_with_and_without_its_id_at_the_end(out):
    with_id = resolve_run(out / "demo_run", "demo_run", "3min")
    assert with_id == resolve_run(out, "demo_run", "3min") == new_run(out, "demo_run", "3min")
    assert (with_id.run_id, with_id.bar_freq) == ("demo_run", "3min")


def test_a_root_of_the_runs_own_name_is_no_riddle(tmp_path):
    (tmp_path / "demo_run" / "demo_run" / "golden").mkdir(parents=True)
    assert resolve_run(tmp_path / "demo_run", "demo_run", "1h").root == tmp_path / "demo_run" / "demo_run"


def test_every_part_has_a_folder_for_each_bar_length(out):
    layout = new_run(out, "demo_run", "3min")
    assert [layout.folder(part) for part in PARTS] == [out / "demo_run" / part / "3min" for part in PARTS]
    assert layout.input_file("BTCUSDT") == out / "demo_run" / "golden" / "3min" / "inputs" / "BTCUSDT.parquet"
    assert layout.factor_file("mom", "BTCUSDT") == out / "demo_run" / "factors" / "3min" / "mom" / "BTCUSDT.parquet"
    assert layout.report_folder("mom", "qlib") == out / "demo_run" / "reports_qlib" / "3min" / "mom"


def test_a_wrong_run_id_says_which_is_meant(out):
    with pytest.raises(RunError, match=r"there is no run 'demo_rum' in .*out; did you mean 'demo_run'\?"):
        resolve_run(out, "demo_rum", "3min")
    with pytest.raises(RunError, match=r"there is no run 'x' in .*; step0_prepare_inputs.py --mode execute makes it"):
        resolve_run(out / "nothing here", "x", "3min")


@pytest.mark.parametrize("run_id", ["../x", "a/b", "", "CON", "x" * 65, "a\nb"])
def test_names_that_leave_the_folder_are_refused(out, run_id):
    with pytest.raises(NameRefused):
        resolve_run(out, run_id, "3min")
    with pytest.raises(NameRefused):
        new_run(out, run_id, "3min")


def test_one_bar_length_has_one_label_in_a_run(out):
    with pytest.raises(RunError, match="run demo_run calls this bar length '3min'; write --bar-freq 3min"):
        resolve_run(out, "demo_run", "3m")
    with pytest.raises(RunError, match="--bar-freq: timeframe '3 parsecs' is not known"):
        resolve_run(out, "demo_run", "3 parsecs")


def test_what_is_missing_names_the_step_that_makes_it(out):
    layout = resolve_run(out, "demo_run", "3min")
    with pytest.raises(
        RunError, match=r"the manifest is missing .*; run step0_prepare_inputs\.py --mode execute first"
    ):
        require(layout.manifest, "manifest", "the manifest")
    with pytest.raises(RunError, match=r"factor 'mom' is not in .*; step3_factor_engine_04.py makes it"):
        require_factor(layout, "mom")
    layout.factor_folder("momentum").mkdir(parents=True)
    layout.factor_metadata("momentum").write_text("{}")
    with pytest.raises(RunError, match="did you mean 'momentum'"):
        require_factor(layout, "mom")
    assert require_factor(layout, "momentum") == layout.factor_metadata("momentum")
