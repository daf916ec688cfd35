"""Security events: who did what to an account, when and from where."""
