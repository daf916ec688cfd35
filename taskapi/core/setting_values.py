"""What the values of single settings must be like."""

import re
from contextlib import suppress
from ipaddress import ip_address

from pydantic_core import PydanticCustomError

NAME_SERVER = re.compile(r"(?:([0-9.]+)|\[([0-9A-Fa-f:.]+)\])(?::([0-9]{1,5}))?|([0-9A-Fa-f:.]+)")
MIN_SECRET_BYTES = 32
PLACEHOLDERS = (
    "changeme",
    "change-me",
    "change_me",
    "changethis",
    "change-this",
    "replace",
    "placeholder",
    "your-",
    "your_",
    "insecure",
    "<",
)


def check_secret(text: str) -> None:
    """Raises PydanticCustomError for a secret key that is short, or looks like a placeholder."""
    if len(text.encode()) < MIN_SECRET_BYTES:
        raise PydanticCustomError("secret_key", "must be at least 32 bytes long; make one with: openssl rand -hex 32")
    if len(set(text)) < 8 or any(word in text.lower() for word in PLACEHOLDERS):
        raise PydanticCustomError("secret_key", "looks like a placeholder; make one with: openssl rand -hex 32")


def parse_name_server(text: str) -> tuple[str, int]:
    """The address and the port of ``10.0.0.53``, ``10.0.0.53:5353``, ``fd00::53`` or ``[fd00::53]:5353``.

    Raises PydanticCustomError for anything else.
    """
    if (found := NAME_SERVER.fullmatch(text)) and (port := int(found[3] or 53)) < 65_536:
        with suppress(ValueError):
            return str(ip_address(found[1] or found[2] or found[4])), port
    raise PydanticCustomError("name_server", "must be addresses such as 10.0.0.53 or [fd00::53]:5353, separated by commas")
