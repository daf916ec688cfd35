"""E-mail addresses: their normal forms, and the domains of tests and local networks."""

from email_validator import ValidatedEmail, validate_email

LOCAL_DOMAINS = ("test", "local", "localhost")  # RFC 6761, sections 6.2 and 6.3; RFC 6762, section 3
_PUBLIC = ".example"


def is_local(address: str) -> bool:
    """Whether the domain of ``address`` is or ends in one of ``LOCAL_DOMAINS``, which no mail server on the Internet serves."""
    return address.rpartition("@")[2].rpartition(".")[2].lower() in LOCAL_DOMAINS


def normalize(address: str) -> str:
    """``address`` as it is kept: in NFC, its domain in lower case.

    Raises:
        ValueError: it is no address. The message may repeat parts of it.
    """
    return _validate(address).normalized.removesuffix(_suffix(address))


def to_ascii(address: str) -> str:
    """``address`` with its domain in ASCII (RFC 5891), which every mail server takes. Raises ValueError."""
    found = _validate(address)
    return (found.ascii_email or found.normalized).removesuffix(_suffix(address))


def _validate(address: str) -> ValidatedEmail:
    return validate_email(address + _suffix(address), check_deliverability=False)


def _suffix(address: str) -> str:
    # The library refuses local domains, and what lets them pass is a list that it shares with every other user of it.
    return _PUBLIC if is_local(address) else ""
