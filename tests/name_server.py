"""A name server on loopback: it answers for the names that it knows, says that others do not exist, or is silent."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import cast

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

SILENT = "silent.example"  # names below it get no answer


class NameServer(asyncio.DatagramProtocol):
    """Notes what it is asked. ``names`` have the addresses of one kind or both."""

    def __init__(self, names: Mapping[str, Sequence[str]]) -> None:
        self.names = names
        self.asked: list[str] = []
        self.was_asked = asyncio.Event()
        self.server = ("", 0)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)
        self.server = transport.get_extra_info("sockname")[:2]

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        query = dns.message.from_wire(data)
        (question,) = query.question
        name = question.name.to_text(omit_final_dot=True).lower()
        self.asked.append(name)
        self.was_asked.set()
        if name.endswith(SILENT):
            return
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.RA
        if name not in self.names:
            answer.set_rcode(dns.rcode.NXDOMAIN)
        kind = dns.rdatatype.to_text(question.rdtype)
        found = [address for address in self.names.get(name, ()) if (":" in address) == (kind == "AAAA")]
        answer.answer = [dns.rrset.from_text(question.name, 60, "IN", kind, address) for address in found]
        self.transport.sendto(answer.to_wire(max_size=max(query.payload, 512), prefer_truncation=True), addr)


@asynccontextmanager
async def name_server(**names: Sequence[str]) -> AsyncIterator[NameServer]:
    """One that knows ``names`` below .example."""
    known = {f"{name}.example": addresses for name, addresses in names.items()}
    transport, server = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: NameServer(known), local_addr=("127.0.0.1", 0)
    )
    try:
        yield server
    finally:
        transport.close()
