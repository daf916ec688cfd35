"""Events: what happens to the tasks of an account, as it happens."""
