"""MongoDB URIs as text."""

import re


def mask_password(uri: str) -> str:
    """``uri`` without its password."""
    return re.sub(r"://([^:/@]*):.*@", r"://\1:***@", uri)
