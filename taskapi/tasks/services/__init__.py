"""What can be done with tasks; it knows no HTTP."""
