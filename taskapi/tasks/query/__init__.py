"""Queries for tasks: filters, sort orders, cursors, projections and pages."""
