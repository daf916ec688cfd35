"""Creates the repositories and services of events, one object of each class per application."""

from collections.abc import Iterator

from taskapi.accounts.auth.loaders import AccountLoader, TokenOwnerLoader
from taskapi.db.connection import Database
from taskapi.events.ticket_repository import TicketRepository
from taskapi.events.tickets import Tickets
from taskapi.web.services import Services


def wire(database: Database, services: Services) -> Iterator[object]:
    """Yields the objects that routes and other packages use; ``services`` has those of the packages below."""
    yield (tickets := TicketRepository(database))
    yield Tickets(tickets, services[AccountLoader], services[TokenOwnerLoader])
