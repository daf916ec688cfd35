"""Shared by all packages: settings, errors, the clock, ids, keys, logs. Imports no other package of taskapi."""
