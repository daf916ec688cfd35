"""Signing in: access tokens and the account behind each request."""
