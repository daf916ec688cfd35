"""Which addresses are public: each registration of IANA, at both of its ends."""

from ipaddress import IPv6Address, ip_network

import pytest

from taskapi.core.public_addresses import is_public

# The whole of both special-purpose registries as of 2025-10-09, and multicast: block, globally reachable.
REGISTRY = {
    "0.0.0.0/8": False,
    "0.0.0.0/32": False,
    "10.0.0.0/8": False,
    "100.64.0.0/10": False,
    "127.0.0.0/8": False,
    "169.254.0.0/16": False,
    "172.16.0.0/12": False,
    "192.0.0.0/24": False,
    "192.0.0.0/29": False,
    "192.0.0.8/32": False,
    "192.0.0.9/32": True,
    "192.0.0.10/32": True,
    "192.0.0.170/32": False,
    "192.0.0.171/32": False,
    "192.0.2.0/24": False,
    "192.31.196.0/24": True,
    "192.52.193.0/24": True,
    "192.88.99.0/24": False,
    "192.88.99.2/32": False,
    "192.168.0.0/16": False,
    "192.175.48.0/24": True,
    "198.18.0.0/15": False,
    "198.51.100.0/24": False,
    "203.0.113.0/24": False,
    "224.0.0.0/4": False,
    "240.0.0.0/4": False,
    "255.255.255.255/32": False,
    "::1/128": False,
    "::/128": False,
    "64:ff9b:1::/48": False,
    "100::/64": False,
    "100:0:0:1::/64": False,
    "2001:1::1/128": True,
    "2001:1::2/128": True,
    "2001:1::3/128": True,
    "2001:2::/48": False,
    "2001:3::/32": True,
    "2001:4:112::/48": True,
    "2001:10::/28": False,
    "2001:20::/28": True,
    "2001:30::/28": True,
    "2001:db8::/32": False,
    "2620:4f:8000::/48": True,
    "3fff::/20": False,
    "5f00::/16": False,
    "fc00::/7": False,
    "fe80::/10": False,
    "ff00::/8": False,
}


def wrappings(address: str) -> list[str]:
    """The IPv6 addresses that lead to an IPv4 address: mapped, NAT64, 6to4, Teredo as its server and as its client."""
    number = int(ip_network(address).network_address)
    teredo = 0x20010000 << 96
    google = 0x08080808
    wrapped = [
        0xFFFF << 32 | number,
        0x64FF9B << 96 | number,
        0x2002 << 112 | number << 80,
        teredo | number << 64 | google ^ 0xFFFFFFFF,
        teredo | google << 64 | number ^ 0xFFFFFFFF,
    ]
    return [str(IPv6Address(value)) for value in wrapped]


@pytest.mark.parametrize(("block", "reachable"), REGISTRY.items())
def test_every_registration_at_both_ends(block: str, reachable: bool) -> None:
    network = ip_network(block)
    for address in (str(network[0]), str(network[-1])):
        assert is_public(address) is reachable
        if network.version == 4:
            assert [is_public(wrapped) for wrapped in wrappings(address)] == [reachable] * 5


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("11.0.0.0", True),
        ("100.128.0.0", True),
        ("172.32.0.0", True),
        ("223.255.255.255", True),
        ("168.63.129.15", True),
        ("168.63.129.16", False),  # Azure's platform
        ("::ffff:168.63.129.16", False),
        ("2606:4700::1111", True),
        ("2001:200::1", True),
        ("3fff:1000::1", True),
        ("64:ff9b::808:808", True),
        ("2001:1ff:ffff::1", False),  # the rest of the IETF protocol assignments
        ("2001:1::4", False),
        ("1fff::1", False),  # beside global unicast
        ("4000::1", False),
        ("fec0::1", False),  # site local, deprecated
        ("::808:808", False),  # IPv4-compatible, deprecated
        ("::ffff:0:808:808", False),  # IPv4-translated
        ("fe80::1%eth0", False),
        ("2606:4700::1111%eth0", False),
    ],
)
def test_addresses_beside_registrations(address: str, public: bool) -> None:
    assert is_public(address) is public
