"""MongoDB URIs as text."""

import re

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


def mask_password(uri: str) -> str:
    """``uri`` without its password."""
    return re.sub(r"://([^:/@]*):.*@", r"://\1:***@", uri)


def for_account(uri: str, account: str, database: str, *, hosts: str | None = None) -> str:
    """The URI of the same server for another account of ``database`` (``name:password``, percent-encoded); "" names none.

    ``hosts`` are those to connect to, if others than in ``uri``.
    """
    scheme, _, rest = uri.partition("://")
    authority, _, options = re.sub(r"/[^?]*", "/", rest, count=1).replace("/?", "?").rstrip("/").partition("?")
    kept = [each for each in re.split("[&;]", options) if each.partition("=")[0].lower() in SHARED_OPTIONS]
    kept += [f"authSource={database}"] if account else []
    return f"{scheme}://{account and f'{account}@'}{hosts or authority.rpartition('@')[2]}/?{'&'.join(kept)}"
