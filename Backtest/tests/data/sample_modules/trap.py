"""Importing this is the fault: the tests check that nothing does."""

raise SystemExit("trap was imported")
