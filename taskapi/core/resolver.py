"""Names to addresses: what getaddrinfo finds by /etc/hosts and the DNS, in look-ups that end in time and can be cancelled.

getaddrinfo works in threads that cannot be stopped: a few names whose servers do not answer keep them all for minutes. Left
out are the modules of nsswitch.conf beside ``files`` and ``dns``.
"""

import asyncio
import os
import socket
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from io import StringIO
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import dns.asyncquery
import dns.asyncresolver
import dns.exception
import dns.inet
import dns.resolver
from dns.message import Message, QueryMessage
from dns.nameserver import Do53Nameserver

LOOKUP_SECONDS = 3.0
ATTEMPT_SECONDS = 1.0  # until another server is asked, or one a second time; "timeout" in resolv.conf is for longer waits
MAX_ANSWER_BYTES = 1232  # what every path carries in one datagram: DNS flag day 2020
DEFAULT_SERVER = "127.0.0.1"  # resolv.conf(5), when it names none
HOSTS, RESOLV_CONF = Path("/etc/hosts"), Path("/etc/resolv.conf")

NameServer = tuple[str, int]


class NameNotResolved(OSError):
    """A name has no address, or no server answered."""


class _Server(Do53Nameserver):
    """A name server that is asked by UDP alone.

    An answer that does not fit is asked for once more with more room (EDNS), and what fits then is taken. TCP would bring
    64 KiB of whatever the owner of a name likes, and a second in which the event loop does nothing but parse it.
    """

    async def async_query(
        self,
        request: QueryMessage,
        timeout: float,
        source: str | None,
        source_port: int,
        max_size: bool,
        backend: Any,
        one_rr_per_rrset: bool = False,
        ignore_trailing: bool = False,
    ) -> Message:
        """The answer to ``request``; ``max_size`` after one that was cut."""
        if max_size:
            request.use_edns(payload=MAX_ANSWER_BYTES)
        async with await _open_socket(backend, self.address) as sock:
            return await dns.asyncquery.udp(
                request,
                self.address,
                timeout,
                self.port,
                raise_on_truncation=not max_size,
                sock=sock,
                ignore_unexpected=True,
                ignore_errors=True,
            )


async def _open_socket(backend: Any, server: str) -> Any:
    """A socket for one question. uvloop forgets one that is opened for who is cancelled meanwhile: it would stay open."""
    opening = asyncio.ensure_future(backend.make_socket(dns.inet.af_for_address(server), socket.SOCK_DGRAM))
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        with suppress(OSError):
            await (await opening).close()
        raise


@dataclass(frozen=True, slots=True)
class _Configuration:
    stamps: tuple[object, ...]
    addresses: dict[str, list[str]]  # by names and aliases of the hosts file
    names: dict[str, str]  # the first name of the line, by names and aliases
    dns: dns.asyncresolver.Resolver


class Resolver:
    """Finds addresses. ``servers`` are asked in place of those in ``resolv_conf``; changes of either file are noticed."""

    def __init__(self, servers: Sequence[NameServer] = (), *, hosts: Path = HOSTS, resolv_conf: Path = RESOLV_CONF) -> None:
        self._servers = servers
        self._hosts = hosts
        self._resolv_conf = resolv_conf
        self._read: _Configuration | None = None

    async def addresses(self, host: str) -> list[str]:
        """The addresses of ``host``, never none; those first to which there is a route, IPv6 before IPv4.

        Raises:
            NameNotResolved: there are none.
            TimeoutError: not known after three seconds.
        """
        if numeric := _numeric(host):
            return numeric
        configuration = await self._configuration()
        name = host.rstrip(".").lower()
        found = configuration.addresses.get(name)
        if not found and (name == "localhost" or name.endswith(".localhost")):
            found = ["::1", "127.0.0.1"]  # RFC 6761: never asked for
        return _by_route(found or await _ask(configuration.dns, host))

    async def own_name(self) -> str | None:
        """The fully qualified name of this machine, if its host name or the hosts file says one."""
        name = socket.gethostname()
        full = (await self._configuration()).names.get(name.lower(), name)
        return full if "." in full else None

    async def _configuration(self) -> _Configuration:
        stamps = (_stamp(self._hosts), _stamp(self._resolv_conf))
        if self._read is None or self._read.stamps != stamps:
            self._read = await asyncio.to_thread(self._load, stamps)
        return self._read

    def _load(self, stamps: tuple[object, ...]) -> _Configuration:
        addresses: dict[str, list[str]] = {}
        names: dict[str, str] = {}
        for address, aliases in _read_hosts(self._hosts):
            for alias in aliases:
                addresses.setdefault(alias, []).append(address)
                names.setdefault(alias, aliases[0])
        return _Configuration(stamps, addresses, names, self._dns())

    def _dns(self) -> dns.asyncresolver.Resolver:
        resolver = dns.asyncresolver.Resolver(configure=False)
        try:
            resolver.read_resolv_conf(StringIO("\n".join(_sound_lines(self._resolv_conf))))
            servers = [(str(address), resolver.port) for address in resolver.nameservers]
        except dns.resolver.NoResolverConfiguration:
            servers = [(DEFAULT_SERVER, resolver.port)]
        resolver.timeout = ATTEMPT_SECONDS
        resolver.nameservers = [_Server(ip, port) for ip, port in self._servers or servers]
        return resolver


def _numeric(host: str) -> list[str]:
    """The address that ``host`` spells, in any way that the system's library reads; it asks nobody."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        return []
    return [str(entry[4][0]) for entry in found]


async def _ask(resolver: dns.asyncresolver.Resolver, name: str) -> list[str]:
    """The addresses that name servers know."""

    async def ask(kind: str) -> list[str]:
        answer = await resolver.resolve(name, kind, search=True, raise_on_no_answer=False, lifetime=LOOKUP_SECONDS)
        return [record.address for record in answer.rrset or ()]

    answers = await asyncio.gather(ask("AAAA"), ask("A"), return_exceptions=True)
    found = [address for answer in answers if not isinstance(answer, BaseException) for address in answer]
    if found:
        return found
    errors = [answer for answer in answers if isinstance(answer, BaseException)]
    if any(isinstance(error, dns.exception.Timeout) for error in errors):
        raise TimeoutError("no name server has answered")
    raise NameNotResolved("the name does not resolve") from next(iter(errors), None)


def _by_route(addresses: Iterable[str]) -> list[str]:
    """Those first that the system knows a way to: RFC 6724, rule 1. A machine without IPv6 uses none of its addresses."""
    return sorted(addresses, key=lambda address: not _has_route(address))


def _has_route(address: str) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((address, 9))  # sends nothing
    except OSError:
        return False
    return True


def _stamp(path: Path) -> object:
    try:
        status = os.stat(path)  # noqa: PTH116 - pathlib makes two objects more for each look-up
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def _sound_lines(path: Path) -> Iterable[str]:
    """The lines of a resolv.conf that can be used; of several that cannot, each spoils itself alone."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return
    for line in text.splitlines():
        try:
            alone = StringIO(f"nameserver {DEFAULT_SERVER}\n{line}")
            dns.asyncresolver.Resolver(configure=False).read_resolv_conf(alone)
        except (dns.exception.DNSException, ValueError):
            continue
        yield line


def _read_hosts(path: Path) -> Iterable[tuple[str, list[str]]]:
    """The lines of a hosts file: an address, and its names in lower case."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return
    for line in text.splitlines():
        address, *names = line.partition("#")[0].lower().split() or [""]
        try:
            ip_address(address)
        except ValueError:
            continue
        if names:
            yield address, names
