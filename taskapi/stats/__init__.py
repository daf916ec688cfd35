"""Numbers about an owner's tasks: how many there are, when they were created and completed, and how long they took."""
