"""Names that what a user adds may have: their form, and those that are taken."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ..names import RESERVED as DEVICE_NAMES
from .dsl.operators import ALIASES, APART, LISTED
from .schema import COLUMNS
from .stamped_fields import FIELDS as STAMPED

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}", re.ASCII)
NAME_RULE = "a letter or '_', then letters, digits and '_', 64 at most, plain ASCII"
OUTPUT_COLUMNS = ("timestamp", "tradable_flag")
LANGUAGE_WORDS = ("and", "or", "not", "true", "false", "null", "none", "nan", "inf", "symbol", "symbols", "tradable")


def reserved_names() -> Mapping[str, str]:
    """Return casefolded name -> what it is, of all names that no factor may take."""
    table = dict.fromkeys(LANGUAGE_WORDS, "a word of the language")
    table.update(dict.fromkeys(DEVICE_NAMES, "a device name on Windows"))
    table.update(dict.fromkeys([*LISTED, *APART, *ALIASES], "an operator"))
    table.update({column.name: "a kline column" for column in COLUMNS})
    table.update(dict.fromkeys(STAMPED, "a field of funding or open interest"))
    table.update(dict.fromkeys(OUTPUT_COLUMNS, "a column of every factor file"))
    return table
