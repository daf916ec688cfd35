"""The end of an account: its export, its time of grace, its removal."""
