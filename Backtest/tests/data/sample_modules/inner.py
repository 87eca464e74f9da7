"""Re-exported by the package."""


def from_inside(close):
    return close * 2
