"""Tasks of one owner."""
