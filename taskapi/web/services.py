"""The objects of a running application, and how requests get them."""

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Any, Self, TypeVar, cast

from starlette.requests import Request
from starlette.types import Scope

Kind = TypeVar("Kind")


class Services:
    """The objects of an application, one of each class. It never changes.

    Raises ValueError for two of one class.
    """

    def __init__(self, *instances: object) -> None:
        self._instances: Mapping[type[Any], Any] = MappingProxyType({type(each): each for each in instances})
        if len(self._instances) != len(instances):
            raise ValueError("two objects of one class")

    def with_more(self, *instances: object) -> Self:
        """A new container with these objects and more, which may need some of them."""
        return type(self)(*self._instances.values(), *instances)

    def __getitem__(self, kind: type[Kind]) -> Kind:
        return cast(Kind, self._instances[kind])

    def get(self, kind: type[Kind]) -> Kind | None:
        """The object of this class; None if the settings disable it."""
        return self._instances.get(kind)


def services_of(source: Request | Scope) -> Services:
    """The objects of the application that handles a request."""
    services: Services = source["app"].state.services
    return services


def provided(kind: type[Kind]) -> Callable[[Request], Awaitable[Kind]]:
    """A dependency that gives a route the application's object of this class."""

    async def provide(request: Request) -> Kind:
        return services_of(request)[kind]

    return provide
