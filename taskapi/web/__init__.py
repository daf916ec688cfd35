"""HTTP: problems, routes, middleware, conditional requests, pages, the server's protocol. Independent of any domain."""
