"""Throttling: whoever guesses has to wait longer and longer."""
