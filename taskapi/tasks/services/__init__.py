"""The operations on tasks, without HTTP."""
