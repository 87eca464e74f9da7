"""Compiled array functions behind the operators.

What a row of the operator table names is a `context.Kernel`: operands float64 [T, B] (rows x symbols), C-ordered and
writable, each value finite or NaN, or a float where a number is allowed; `out` float64 [T, B], C-ordered and none of
them, is filled with finite values and the one NaN. Formula, ties and missing rule of each stand in its row.
"""
