"""The head of a request: what is refused before the application sees it."""

from collections.abc import Collection

MAX_HEAD_BYTES = 32 * 1024  # of the headers of a request, and of its trailers
MAX_PARSED_BYTES = 65_535  # of a target; httptools refuses a longer one
REFUSED_TARGET = b"/?".ljust(MAX_PARSED_BYTES, b"-")  # so long that the application answers 414


# Statuses, codes and details of answers.
INVALID = (400, "bad_request", "The request is not valid HTTP/1.1.")
NOT_ONE_HOST = (400, "bad_request", "A request of HTTP/1.1 must have one Host header.")
TOO_LARGE = (431, "headers_too_large", f"Headers and trailers may take {MAX_HEAD_BYTES} bytes each.")


class RefusedHead(Exception):
    """Stops the parser. Its arguments are those of the answer: ``TOO_LARGE``, for example."""


def check_head(headers: Collection[tuple[bytes, bytes]], received: int, version: str) -> None:
    """Checks the ``headers`` of a request, of which no more than ``received`` bytes have come.

    Raises RefusedHead: they are too large, or a request of HTTP/1.1 has another number of Host headers than one (RFC 9112,
    section 3.2).
    """
    if received > MAX_HEAD_BYTES < sum(len(name) + len(value) + len(": \r\n") for name, value in headers):
        raise RefusedHead(*TOO_LARGE)
    if version == "1.1" and [name for name, _ in headers].count(b"host") != 1:
        raise RefusedHead(*NOT_ONE_HOST)


def join_target(target: bytes, piece: bytes) -> bytes:
    """A target with its next piece. One that is too long to parse is replaced, not truncated: a shorter one might be served."""
    return target + piece if len(target) + len(piece) <= MAX_PARSED_BYTES else REFUSED_TARGET
