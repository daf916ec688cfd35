"""Backup and restore of a whole database, in one file."""
