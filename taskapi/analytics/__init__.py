"""What analysts use beside the views: extracts, the report, and accounts for MongoDB."""
