"""The page /live, and the files that it consists of."""
