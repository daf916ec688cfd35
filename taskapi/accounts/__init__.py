"""Who calls, and what proves it: users, sign-in, sessions, API tokens, second factors, recovery, deletion."""
