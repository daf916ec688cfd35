"""What analysts use beside the views: daily figures, extracts, the report, and accounts for MongoDB."""
