"""Repeating a POST without doing it twice: the ``Idempotency-Key`` header."""
