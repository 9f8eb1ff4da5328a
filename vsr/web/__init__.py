"""`vsr serve`: the engine behind an HTTP API and a page, on the user's own machine."""
