"""Finding the route of a request: one look for each segment of its path, however many routes there are."""

import re
from collections.abc import Awaitable, Iterable
from typing import Any

from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

Branch = dict[Any, Any]  # by segment, or one of these two
TEXT = object()  # any segment that is not empty
METHODS = object()  # the routes of a path that ends here, by their methods
PARAMETER = re.compile(r"{\w+}")


class RouteTable:
    """Passes each request to its route; one that has none, such as for a method that its path does not take, to ``others``.

    A segment that a path names goes before one that can be any text: ``/tasks/export`` is not a task's id. Paths with anything
    but texts between their slashes, such as ``/{name}.json`` or ``/{number:int}``, are left to ``others`` as well.
    """

    def __init__(self, routes: Iterable[BaseRoute], others: ASGIApp) -> None:
        self._others = others
        self._tree: Branch = {}
        for route in routes:
            if isinstance(route, Route):
                self._add(route)

    def _add(self, route: Route) -> None:
        branch, segments = self._tree, route.path.split("/")[1:]
        if not all(PARAMETER.fullmatch(segment) or "{" not in segment for segment in segments):
            return
        for segment in segments:
            branch = branch.setdefault(TEXT if PARAMETER.fullmatch(segment) else segment, {})
        for method in route.methods or ():
            branch.setdefault(METHODS, {}).setdefault(method, route)

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] == "http":
            path = scope["path"].removeprefix(scope.get("root_path", ""))
            route, values = self.find(scope["method"], path)
            if route is not None:
                parameters = dict(zip(route.param_convertors, values, strict=True))
                scope.update(route=route, endpoint=route.endpoint, path_params=parameters)
                return route.app(scope, receive, send)
        return self._others(scope, receive, send)

    def find(self, method: str, path: str) -> tuple[Route | None, list[str]]:
        """The route of a method and a path, if there is one, and the texts of the path that are its parameters."""
        branch, values = self._tree, list[str]()
        for segment in path.split("/")[1:]:
            if segment in branch:
                branch = branch[segment]
            elif TEXT in branch and segment:
                branch = branch[TEXT]
                values.append(segment)
            else:
                return None, values
        return branch.get(METHODS, {}).get(method), values
