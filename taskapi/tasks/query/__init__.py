"""Asking for tasks: filters, orders, cursors, parts, pages."""
