"""Accounts: users, sign-in, sessions, API tokens, second factors, recovery, deletion."""
