"""Rows of the operator table that look across the members of one group at one bar."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .row_words import DDOF, MEMBERS, SERIES, cross
from .signature import Argument, Operator

GROUP = Argument("group", "group")
OWN = MEMBERS.replace("where x is", "where x or the group is")


def group(
    name: str, formula: str, doc: str, missing: str = "", *, data: Sequence[Argument] = (SERIES,), **more: Any
) -> Operator:
    """Return the row of a cross-section inside groups."""
    return cross(
        name, formula, doc, f"{name}(close, sector)", module="groups", data=(*data, GROUP),
        missing=OWN + missing, **more,
    )  # fmt: skip


GROUPED = (
    group("grp_demean", "x - mean of the group", "Distance from the group's mean; 0 in a group of one.",
          aliases=("indneutralize", "group_neutralize")),
    group("grp_rank", "r / n, r = rank in the group", "Rank in the group, smallest first; 1 in a group of one.",
          ties="average rank", sign="positive"),
    group("grp_zscore", "(x - mean) / std of the group", "Distance from the group's mean in standard deviations.",
          "; all of a group that is flat or has n <= ddof, a group of one among them", literals=(DDOF,),
          ddof="1, or 0 by argument"),
    group("grp_scale", "a x / sum |x| of the group", "Scale each group so that sum |x| = a.",
          "; all of a group where sum |x| is 0", literals=(Argument("a", "number", required=False, default=1),)),
    group("grp_mean", "sum x / n of the group", "Arithmetic mean of the group, the same for each of it."),
    group("grp_median", "middle of the sorted group, mean of the middle two",
          "Median of the group, the same for each of it."),
    group("grp_sum", "sum x of the group", "Sum of the group, the same for each of it."),
    group("grp_count", "n of the group", "Number of the group's members with a value, the same for each of it.",
          data=(Argument("x", "any"),), sign="positive"),
    group("grp_std", "sqrt(sum (x - mean)^2 / (n - ddof)) of the group",
          "Standard deviation of the group, the same for each of it.", "; all of a group with n <= ddof",
          literals=(DDOF,), ddof="1, or 0 by argument", sign="non-negative"),
)  # fmt: skip
