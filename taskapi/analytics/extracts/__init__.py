"""Extracts: a copy of the data in files, which later runs bring up to date."""
