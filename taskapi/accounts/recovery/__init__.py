"""Proving that one reads an address: for a new password, and for the address itself."""
