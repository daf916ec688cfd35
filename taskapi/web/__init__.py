"""HTTP itself: problems, routes, middleware, conditional requests, pages, the server's protocol; it knows no domain."""
