"""taskapi: a task-management REST API on MongoDB."""

__version__ = "1.4.0"
