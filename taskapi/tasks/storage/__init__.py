"""Tasks as MongoDB keeps them: their shape and indexes, reads, writes, history."""
