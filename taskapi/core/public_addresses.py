"""Which IP addresses are on the public internet, according to the IANA registries, not the tables of this Python.

Sources: the IANA IPv4 and IPv6 Special-Purpose Address Registries (RFC 6890, RFC 8190), both last updated 2025-10-09, and
the Multicast entries of the two Address Space registries. An address is public when the most specific registration that
holds it says "globally reachable: true", or when none holds it; in IPv6 it must be global unicast as well (RFC 4291).

One address is refused although it is registered as public: Azure's platform answers there, to its virtual machines alone
("What is IP address 168.63.129.16?", Microsoft). The metadata of other clouds is at addresses that are not public.
"""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

GLOBAL_UNICAST = IPv6Network("2000::/3")
NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052: an IPv4 address in the last four bytes

# Every registration that is not "globally reachable: true", but for those that wrap an IPv4 address (below), and Azure's.
NOT_REACHABLE = (
    "0.0.0.0/8",  # this network
    "10.0.0.0/8",  # private use
    "100.64.0.0/10",  # shared by the customers of a carrier
    "127.0.0.0/8",  # loopback
    "169.254.0.0/16",  # link local
    "168.63.129.16/32",  # Azure's platform
    "172.16.0.0/12",  # private use
    "192.0.0.0/24",  # IETF protocol assignments
    "192.0.2.0/24",  # documentation
    "192.88.99.0/24",  # 6to4 relay anycast, deprecated
    "192.168.0.0/16",  # private use
    "198.18.0.0/15",  # benchmarking
    "198.51.100.0/24",  # documentation
    "203.0.113.0/24",  # documentation
    "224.0.0.0/4",  # multicast
    "240.0.0.0/4",  # reserved; its last address is the limited broadcast
    "::/127",  # unspecified, loopback
    "64:ff9b:1::/48",  # translation between IPv4 and IPv6, local use
    "100::/64",  # discard only
    "100:0:0:1::/64",  # dummy prefix
    "2001::/23",  # IETF protocol assignments, benchmarking and the first ORCHID among them
    "2001:db8::/32",  # documentation
    "3fff::/20",  # documentation, RFC 9637
    "5f00::/16",  # SRv6 segment identifiers, RFC 9602
    "fc00::/7",  # unique local
    "fe80::/10",  # link local
    "ff00::/8",  # multicast
)
# The more specific registrations inside of those that are.
REACHABLE = (
    "192.0.0.9/32",  # Port Control Protocol anycast
    "192.0.0.10/32",  # TURN anycast
    "2001:1::1/128",  # Port Control Protocol anycast
    "2001:1::2/128",  # TURN anycast
    "2001:1::3/128",  # DNS-SD service registration anycast
    "2001:3::/32",  # automatic multicast tunneling
    "2001:4:112::/48",  # AS112
    "2001:20::/28",  # ORCHIDv2
    "2001:30::/28",  # entity tags of drones
)

_Network = IPv4Network | IPv6Network
_NOT_REACHABLE: tuple[_Network, ...] = tuple(map(ip_network, NOT_REACHABLE))
_REACHABLE: tuple[_Network, ...] = tuple(map(ip_network, REACHABLE))


def is_public(address: str) -> bool:
    """Whether an IP address is on the public internet. One that embeds IPv4 addresses is public if all of them are."""
    if "%" in address:
        return False  # a zone, which is only valid on one link
    parsed = ip_address(address)
    if isinstance(parsed, IPv6Address):
        if wrapped := _wrapped(parsed):
            return all(is_public(str(inner)) for inner in wrapped)
        if parsed not in GLOBAL_UNICAST:
            return False
    return any(parsed in network for network in _REACHABLE) or not any(parsed in network for network in _NOT_REACHABLE)


def _wrapped(address: IPv6Address) -> tuple[IPv4Address, ...]:
    """The IPv4 addresses that traffic to ``address`` may reach: IPv4-mapped, NAT64, 6to4, or server and client of Teredo."""
    if address in NAT64:
        return (IPv4Address(int(address) & 0xFFFFFFFF),)
    single = address.ipv4_mapped or address.sixtofour
    return (single,) if single else address.teredo or ()
