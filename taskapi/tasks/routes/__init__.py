"""The HTTP layer: each route declares its parameters, makes one call and returns its response."""
