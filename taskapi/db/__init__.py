"""MongoDB: the connection, queries, transactions, the embedded server. Independent of HTTP and of any domain."""
