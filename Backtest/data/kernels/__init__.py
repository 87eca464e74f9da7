"""Compiled array functions behind the operators."""
