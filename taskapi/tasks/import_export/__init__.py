"""Tasks in files: CSV, JSON and JSON Lines, in both directions."""
