"""Signing in, and finding the account of each request."""
