"""Other systems' languages: their names, their grammar and their rules, as forms of the one operator table."""
