"""Finding the route of a request: one look for each segment of its path, however many routes there are."""

from collections.abc import Awaitable, Iterable
from typing import Any

from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

Branch = dict[str | None, Any]  # by segment; by None for one that can be any text
METHODS = ""  # the routes of a path that ends here, by their methods: no segment of a path is empty


class RouteTable:
    """Passes each request to its route; one that has none, such as for a method that its path does not take, to ``others``.

    A segment that a path names goes before one that can be any text: ``/tasks/export`` is not a task's id.
    """

    def __init__(self, routes: Iterable[BaseRoute], others: ASGIApp) -> None:
        self._others = others
        self._tree: Branch = {}
        for route in routes:
            if isinstance(route, Route):
                self._add(route)

    def _add(self, route: Route) -> None:
        branch = self._tree
        for segment in route.path.split("/")[1:]:
            branch = branch.setdefault(None if segment.startswith("{") else segment, {})
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
            if segment in branch and segment:
                branch = branch[segment]
            elif None in branch and segment:
                branch = branch[None]
                values.append(segment)
            else:
                return None, values
        return branch.get(METHODS, {}).get(method), values
