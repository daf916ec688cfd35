"""Passwords, access tokens, scopes, request quotas, and throttling: repeated guesses wait longer and longer."""
