"""The run log: what goes to the file, what to stderr, and that nothing stays behind."""

from __future__ import annotations

import re
from pathlib import Path

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


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a disk that is always full")
def test_a_full_disk_is_told_once_and_ends_nothing(capsys):
    before = list(LOGGER.handlers)
    with run_log(Path("/dev/full"), "INFO") as log:
        log.info("inf"), log.warning("wrn")
    told, warning = capsys.readouterr().err.splitlines()
    assert told == "log file /dev/full cannot be written (No space left on device); going on without"
    assert warning.endswith("wrn")
    assert list(LOGGER.handlers) == before


def test_a_message_of_a_path_that_is_no_text_is_written(tmp_path):
    with run_log(tmp_path / "x.log", "INFO") as log:
        log.info("path %s", "data\udcb1")
    assert (tmp_path / "x.log").read_text("utf-8").endswith("path data\\udcb1\n")
