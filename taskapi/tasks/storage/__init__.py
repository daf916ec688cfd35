"""How tasks are stored in MongoDB: documents, indexes, repositories and history."""
