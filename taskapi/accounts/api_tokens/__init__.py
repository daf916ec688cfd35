"""API tokens: credentials for scripts, used without a password."""
