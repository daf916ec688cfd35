"""Every route of the application, as calls."""

import re
from collections.abc import Iterator, Mapping

from fastapi import FastAPI
from starlette.routing import BaseRoute, Route

ENDS: Mapping[str, str] = {"/events/stream": "?since=nowhere"}  # has an answer come to its end that otherwise has none


def calls(app: FastAPI, any_id: str) -> Iterator[tuple[BaseRoute, str, str]]:
    """Each route with each of its methods and a path to call it by, in which ``any_id`` stands for every parameter."""
    for route in app.routes:
        if isinstance(route, Route):
            for method in sorted(route.methods or ()):
                yield route, method, re.sub(r"\{[^}]+\}", any_id, route.path) + ENDS.get(route.path, "")
