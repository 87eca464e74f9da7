"""The report of an evaluation: charts as data, the page, the pictures, the verdict in words."""
