"""API tokens: how scripts prove whose they are, without a password."""
