"""One run, from what was asked to what is kept of it."""
