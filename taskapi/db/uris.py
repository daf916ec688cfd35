"""MongoDB URIs as text."""

import re
from urllib.parse import unquote

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


def for_account(uri: str, account: str, database: str, *, hosts: str | None = None) -> str:
    """The URI of the same server for another account of ``database`` (``name:password``, percent-encoded); "" names none.

    ``hosts`` are those to connect to, if others than in ``uri``.
    """
    scheme, _, rest = uri.partition("://")
    authority, _, options = re.sub(r"/[^?]*", "/", rest, count=1).replace("/?", "?").rstrip("/").partition("?")
    kept = [each for each in re.split("[&;]", options) if each.partition("=")[0].lower() in SHARED_OPTIONS]
    kept += [f"authSource={database}"] if account else []
    return f"{scheme}://{account and f'{account}@'}{hosts or authority.rpartition('@')[2]}/?{'&'.join(kept)}"
