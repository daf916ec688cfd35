"""``taskapi analytics refresh``: figures of each day, stored for questions about all tasks."""
