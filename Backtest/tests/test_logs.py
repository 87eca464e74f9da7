"""The run log: what goes to the file, what to stderr, and that nothing stays behind."""

from __future__ import annotations

import re

import pytest

from Backtest.logs import LOGGER, log_path, run_log


@pytest.mark.parametrize(
    "level, written", [("DEBUG", "dbg inf wrn err"), ("INFO", "inf wrn err"), ("WARNING", "wrn err"), ("ERROR", "err")]
)
def test_the_file_takes_the_level_and_stderr_only_warnings(tmp_path, capsys, level, written):
    path = tmp_path / "new" / "log 量.log"
    with run_log(path, level) as log:
        log.debug("dbg"), log.info("inf"), log.warning("wrn"), log.error("err 量")
    lines = path.read_text("utf-8").splitlines()
    assert all(
        re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ (DEBUG|INFO|WARNING|ERROR) +\S.*", line) for line in lines
    )
    assert " ".join(line.split()[2] for line in lines) == written
    shown = [word for word in written.split() if word in ("wrn", "err")]
    out, err = capsys.readouterr()
    assert (out, [line.split()[2] for line in err.splitlines()]) == ("", shown)


def test_the_logger_is_left_as_it_was_even_after_an_error(tmp_path):
    before = (LOGGER.level, LOGGER.propagate, list(LOGGER.handlers))
    with pytest.raises(ZeroDivisionError), run_log(tmp_path / "x.log", "DEBUG"):
        raise ZeroDivisionError
    assert (LOGGER.level, LOGGER.propagate, list(LOGGER.handlers)) == before


def test_log_names_hold_the_time(tmp_path):
    assert re.fullmatch(r"prepare_demo_\d{8}T\d{12}\.log", log_path(tmp_path, "prepare_demo").name)
