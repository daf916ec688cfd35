"""Migrations: numbered steps that bring the stored documents to the shape that the code needs. Knows no domain.

A domain declares its steps in its ``migrations.py``; ``main.py`` gathers them in ``MIGRATIONS``.
"""
