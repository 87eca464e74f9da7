"""The expression language of recipes."""
