"""MongoDB: the connection, queries and transactions, its own process; it knows no domain and no HTTP."""
