"""Sessions: started by signing in, continued with refresh tokens, ended by signing out."""
