"""The views that analysts read."""
