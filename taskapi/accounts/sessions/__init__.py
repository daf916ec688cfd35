"""Sessions: what a sign-in begins, refresh tokens carry on, and a sign-out ends."""
