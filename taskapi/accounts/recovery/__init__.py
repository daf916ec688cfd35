"""Proving access to an e-mail address: to reset a password, and to verify the address."""
