"""Changes of tasks as they happen: positions, streams, tickets."""
