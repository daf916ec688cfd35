"""MongoDB URIs: what is wrong with one, and what of it is shown or given to others."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote

from pymongo import MongoClient
from pymongo.errors import InvalidName, InvalidURI, PyMongoError
from pymongo.uri_parser import parse_uri

from taskapi.core.errors import StartupError
from taskapi.core.settings import Settings

# Options of a URI that others need as well to reach the server. The rest is about the service's account or its patience.
SHARED_OPTIONS = {
    "directconnection",
    "replicaset",
    "loadbalanced",
    "srvservicename",
    "srvmaxhosts",
    "compressors",
    "readpreference",
    "readpreferencetags",
    "tls",
    "ssl",
    "tlscafile",
    "tlsinsecure",
    "tlsallowinvalidcertificates",
    "tlsallowinvalidhostnames",
}

# Options whose values may be shown. Any other may be a secret, such as ``tlsCertificateKeyFilePassword``, or a part of one.
SHOWN_OPTIONS = SHARED_OPTIONS | {"authsource", "authmechanism"}


def mask_secrets(uri: str) -> str:
    """``uri`` without its password and the options that may be secret. What is no valid URI shows less rather than more."""
    before, mark, options = uri.partition("?")
    if "@" in options:  # of a password with a question mark, perhaps
        return re.sub(r"://([^:/@]*).*", r"://\1***", uri, flags=re.DOTALL)
    before = re.sub(r"://([^:]*):.*@", r"://\1:***@", before, flags=re.DOTALL)
    return before + mark + re.sub("[^&;]+", _shown, options)


def _shown(option: re.Match[str]) -> str:
    name, _, value = option[0].partition("=")
    return option[0] if name.lower() in SHOWN_OPTIONS and "=" not in unquote(value) else "***"


@contextmanager
def explained() -> Iterator[None]:
    """Raises StartupError, one line with the setting, for what the driver refuses when it makes a client of the URI."""
    try:
        yield
    except (InvalidName, InvalidURI):  # their messages repeat parts of the URI
        raise StartupError(
            "TASKAPI_MONGODB_URI is not a valid MongoDB URI; percent-encode the user name and the password"
        ) from None
    except OSError as error:
        file = error.filename or "a file with certificates"
        raise StartupError(f"TASKAPI_MONGODB_URI: {file} cannot be used: {error.strerror or error}") from None
    except (PyMongoError, TypeError, ValueError) as error:
        raise StartupError(f"TASKAPI_MONGODB_URI: {error}") from None


def require_valid(settings: Settings) -> None:
    """Raises StartupError if the driver refuses the URI. Connects to nothing."""
    if settings.mongodb_uri is None:
        return
    uri = settings.mongodb_uri.get_secret_value()
    with explained():
        if not uri.startswith("mongodb+srv:"):  # whose name would be looked up
            parse_uri(uri)
        MongoClient[dict[str, Any]](uri, connect=False).close()


def for_account(uri: str, account: str, database: str, *, hosts: str | None = None) -> str:
    """The URI of the same server for another account of ``database`` (``name:password``, percent-encoded); "" names none.

    ``hosts`` are those to connect to, if others than in ``uri``.
    """
    scheme, _, rest = uri.partition("://")
    authority, _, options = re.sub(r"/[^?]*", "/", rest, count=1).replace("/?", "?").rstrip("/").partition("?")
    kept = [each for each in re.split("[&;]", options) if each.partition("=")[0].lower() in SHARED_OPTIONS]
    kept += [f"authSource={database}"] if account else []
    return f"{scheme}://{account and f'{account}@'}{hosts or authority.rpartition('@')[2]}/?{'&'.join(kept)}"
