"""Names to addresses, with a name server on loopback and hosts files of the test's own."""

import asyncio
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from dns._asyncio_backend import Backend

from taskapi.core import resolver
from taskapi.core.resolver import NameNotResolved, NameServer, Resolver
from tests.name_server import SILENT, name_server
from tests.tools import free_port


def make(folder: Path, *servers: NameServer, hosts: str = "", resolv_conf: str = "") -> Resolver:
    (folder / "hosts").write_text(hosts)
    (folder / "resolv.conf").write_text(resolv_conf)
    return Resolver(servers, hosts=folder / "hosts", resolv_conf=folder / "resolv.conf")


async def found(names: Resolver, host: str) -> set[str]:
    return set(await names.addresses(host))


async def test_both_kinds_of_addresses_are_found(tmp_path: Path) -> None:
    async with name_server(both=["192.0.2.1", "2001:db8::1"], four=["192.0.2.4"], six=["2001:db8::6"], none=[]) as dns:
        names = make(tmp_path, dns.server)
        assert await found(names, "both.example") == {"192.0.2.1", "2001:db8::1"}
        assert await found(names, "four.example.") == {"192.0.2.4"}
        assert await found(names, "SIX.example") == {"2001:db8::6"}
        for name in ("none.example", "unknown.example", "a..b", "x" * 64, f"{'x.' * 130}example", "\u2665" * 70, ""):
            with pytest.raises(NameNotResolved):
                await names.addresses(name)


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2130706433", "127.0.0.1"),
        ("0x7f.1", "127.0.0.1"),
        ("0177.0.0.1", "127.0.0.1"),
        ("::ffff:10.0.0.1", "::ffff:10.0.0.1"),
        ("2001:db8::1", "2001:db8::1"),
    ],
)
async def test_literal_addresses_are_parsed_without_a_query(tmp_path: Path, host: str, address: str) -> None:
    async with name_server() as dns:
        assert await make(tmp_path, dns.server).addresses(host) == [address]
        assert dns.asked == []


async def test_hosts_file_comes_first_and_is_reread(tmp_path: Path) -> None:
    hosts = "# none\n10.0.0.1 Mail.Internal mail # the relay\n2001:db8::1 mail\nnonsense mail\n10.0.0.9\n"
    async with name_server(mail=["192.0.2.1"]) as dns:
        names = make(tmp_path, dns.server, hosts=hosts, resolv_conf="search example\n")
        assert await found(names, "mail") == {"10.0.0.1", "2001:db8::1"}
        assert await found(names, "MAIL.internal.") == {"10.0.0.1"}
        assert dns.asked == []
        (tmp_path / "hosts").write_text("10.0.0.2 other\n")
        assert await found(names, "mail") == {"192.0.2.1"}
        (tmp_path / "hosts").unlink()
        with pytest.raises(NameNotResolved):
            await names.addresses("other")


async def test_the_search_list_is_that_of_resolv_conf(tmp_path: Path) -> None:
    async with name_server(**{"api": ["192.0.2.1"], "deep.api": ["192.0.2.2"]}) as dns:
        names = make(tmp_path, dns.server, resolv_conf="search example\noptions ndots:2\n")
        assert await found(names, "api") == {"192.0.2.1"}
        assert await found(names, "deep.api") == {"192.0.2.2"}
        assert set(dns.asked) == {"api.example", "deep.api.example"}


async def test_localhost_is_never_asked_for(tmp_path: Path) -> None:
    async with name_server() as dns:
        names = make(tmp_path, dns.server)
        assert await found(names, "localhost") == {"127.0.0.1", "::1"}
        assert await found(names, "app.localhost") == {"127.0.0.1", "::1"}
        assert dns.asked == []


async def test_silent_name_server_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolver, "LOOKUP_SECONDS", 0.1)
    async with name_server() as dns:
        with pytest.raises(TimeoutError):
            await make(tmp_path, dns.server).addresses(f"one.{SILENT}")


async def test_silent_or_missing_servers_do_not_hide_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolver, "ATTEMPT_SECONDS", 0.05)
    async with name_server(name=["192.0.2.1"]) as dns:
        gone = ("127.0.0.1", free_port())
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
            silent.bind(("127.0.0.1", 0))
            names = make(tmp_path, gone, silent.getsockname(), dns.server, resolv_conf="options timeout:30 attempts:1\n")
            assert await found(names, "name.example") == {"192.0.2.1"}
        monkeypatch.setattr(resolver, "LOOKUP_SECONDS", 0.1)
        with pytest.raises(TimeoutError):
            await make(tmp_path, gone).addresses("name.example")


async def test_waiting_lookups_block_no_others_and_are_cancellable(tmp_path: Path) -> None:
    async with name_server(name=["192.0.2.1"]) as dns:
        names = make(tmp_path, dns.server)
        waiting = [asyncio.create_task(names.addresses(f"n{number}.{SILENT}")) for number in range(100)]
        assert await found(names, "name.example") == {"192.0.2.1"}
        assert not [task for task in waiting if task.done()]
        for task in waiting:
            task.cancel()
        results: Sequence[object] = await asyncio.gather(*waiting, return_exceptions=True)
        assert {type(result) for result in results} == {asyncio.CancelledError}


async def test_lookup_broken_off_leaves_no_socket_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_socket: Any = Backend.make_socket
    opened = list[Any]()

    async def open_as_uvloop(*arguments: Any) -> Any:
        """Where the socket is open a turn of the event loop before its caller has it."""
        opened.append(made := await make_socket(*arguments))
        await asyncio.sleep(0)
        return made

    monkeypatch.setattr(Backend, "make_socket", open_as_uvloop)
    async with name_server(name=["192.0.2.1"]) as dns:
        names, broken_off = make(tmp_path, dns.server), set[bool]()
        await names.addresses("name.example")  # its files have been read
        for turns in range(40):
            asking = asyncio.create_task(names.addresses("name.example"))
            for _ in range(turns):
                await asyncio.sleep(0)
            asking.cancel()
            await asyncio.wait([asking])
            broken_off.add(asking.cancelled())
        assert broken_off == {True, False}
        assert [each for each in opened if not each.transport.is_closing()] == []


async def test_answer_is_limited_to_one_datagram(tmp_path: Path) -> None:
    many = [f"192.0.2.{number}" for number in range(200)]
    async with name_server(many=many, more=many[:40]) as dns:
        names = make(tmp_path, dns.server)
        assert 40 < len(await found(names, "many.example")) < 100
        assert await found(names, "more.example") == set(many[:40])  # more than fit in the 512 bytes of RFC 1035


@pytest.mark.parametrize("content", [None, "", "nameserver nonsense\n", "options timeout:0\nsearch a..b\nnameserver 127.0.0.1\n"])
async def test_unusable_resolv_conf_breaks_nothing(tmp_path: Path, content: str | None) -> None:
    async with name_server(name=["192.0.2.1"]) as dns:
        names = make(tmp_path, dns.server, resolv_conf=content or "")
        if content is None:
            (tmp_path / "resolv.conf").unlink()
        assert await found(names, "name.example") == {"192.0.2.1"}


@pytest.mark.parametrize(
    "bad",
    ["nameserver nonsense", "nameserver 192.0.2.1#53", "search a..b", "options timeout:x attempts:", "\ufffd \0", "nameserver"],
)
async def test_unusable_line_is_skipped_alone(tmp_path: Path, bad: str) -> None:
    async with name_server(api=["192.0.2.1"]) as dns:
        good = f"search example\noptions ndots:2\nnameserver {dns.server[0]}\n"
        for content in (f"{bad}\n{good}", f"{good}{bad}\n"):
            names = make(tmp_path, dns.server, resolv_conf=content)
            assert await found(names, "api") == {"192.0.2.1"}


async def test_a_bad_name_server_hides_no_good_one(tmp_path: Path) -> None:
    names = make(tmp_path, resolv_conf="nameserver 192.0.2.9\nnameserver nonsense\nnameserver 2001:db8::9\n")
    servers = (await names._configuration()).dns.nameservers
    assert [server.address for server in servers] == ["192.0.2.9", "2001:db8::9"]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("hosts", "host_name", "name"),
    [
        ("", "api.example.com", "api.example.com"),
        ("127.0.1.1 api.example.com api\n", "api", "api.example.com"),
        ("127.0.1.1 api\n", "api", None),
        ("", "3f2a", None),
    ],
)
async def test_the_name_of_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hosts: str, host_name: str, name: str | None
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: host_name)
    assert await make(tmp_path, hosts=hosts).own_name() == name
