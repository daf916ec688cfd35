"""Imports and exports of tasks: CSV, JSON and JSON Lines."""
