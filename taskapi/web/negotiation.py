"""The media type of a response (RFC 9110, section 12.5.1), and whether the content of a request is encoded (section 8.4)."""

import re
from collections.abc import Awaitable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice

from fastapi import Request
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from taskapi.core.errors import NotAcceptable, UnsupportedContentCoding

ANYTHING = [b"*/*"]
MAX_RANGES = 100  # of one Accept header; those that follow are not read
MAX_REMEMBERED_LENGTH = 200  # characters; what programs send is shorter and always the same, browsers' included
# Separated by commas, or by semicolons, that stand outside quoted strings. Each character is looked at once.
ELEMENT = re.compile(r'(?:[^",]|"(?:[^"\\]|\\.)*"?)+', re.DOTALL)
PART = re.compile(r'(?:[^";]|"(?:[^"\\]|\\.)*"?)+', re.DOTALL)
WEIGHT = re.compile(r"0?\.[0-9]+|0\.?|1(?:\.0*)?")
UTF_8 = ("charset", "utf-8")  # what every text of ours is, said or not


@dataclass(frozen=True, slots=True)
class MediaRange:
    """One media range of Accept, in lower case, or an offered media type; ``*`` matches any."""

    type: str
    subtype: str
    parameters: frozenset[tuple[str, str]]
    quality: float

    @property
    def precedence(self) -> tuple[bool, bool, int]:
        """The most specific range decides about a media type, whatever its quality."""
        return self.type != "*", self.subtype != "*", len(self.parameters)

    def admits(self, offer: "MediaRange") -> bool:
        """Whether ``offer`` is in this range; the offer must have all of the range's parameters."""
        return (
            self.type in ("*", offer.type)
            and self.subtype in ("*", offer.subtype)
            and self.parameters <= offer.parameters | {UTF_8}
        )


def negotiated(request: Request, offers: tuple[str, ...]) -> str:
    """The media type of ``offers`` that the caller prefers; the first of several with equal preference.

    Raises:
        NotAcceptable: the caller takes none of them.
    """
    return _negotiated(request.scope, offers)


def _negotiated(scope: Scope, offers: tuple[str, ...]) -> str:
    lines = [value for name, value in scope["headers"] if name == b"accept"]
    if not lines or lines == ANYTHING:
        return offers[0]
    accept = b",".join(lines).decode("latin-1")
    best = (_remembered if len(accept) <= MAX_REMEMBERED_LENGTH else preferred)(accept, offers)
    if best is None:
        raise NotAcceptable(offers)
    return best


def preferred(accept: str, offers: tuple[str, ...]) -> str | None:
    """The best of ``offers`` for an Accept header; None if it accepts none of them. An empty header accepts all."""
    elements = [element for element in islice(ELEMENT.findall(accept), MAX_RANGES) if element.strip()]
    if not elements:
        return offers[0]
    ranges = sorted(_media_ranges(elements), key=lambda media_range: media_range.precedence, reverse=True)

    def quality(offer: str) -> float:
        (kind,) = _media_ranges([offer])
        return next((media_range.quality for media_range in ranges if media_range.admits(kind)), 0.0)

    best = max(offers, key=quality)  # the first of equals
    return best if quality(best) > 0 else None


_remembered = lru_cache(maxsize=256)(preferred)


def _media_ranges(elements: Sequence[str]) -> Iterator[MediaRange]:
    """The media ranges of an Accept header. Invalid ones are ignored, and an invalid weight counts as 1."""
    for element in elements:
        name, *parts = [part.strip().lower() for part in PART.findall(element)] or [""]
        kind, slash, subtype = ("*/*" if name == "*" else name).partition("/")  # a lone * is what old Java clients send
        if not (kind and slash and subtype) or (kind == "*" and subtype != "*"):
            continue
        parameters: set[tuple[str, str]] = set()
        quality = 1.0
        for part in parts:
            key, _, value = part.partition("=")
            if key == "q":
                quality = float(value) if WEIGHT.fullmatch(value) else 1.0
                break  # what follows was never part of the media type (RFC 7231, section 5.3.2)
            parameters.add((key, value.strip('"')))
        yield MediaRange(kind, subtype, frozenset(parameters), quality)


def refuse_codings(scope: Scope) -> None:
    """Raises UnsupportedContentCoding if the content of the request has a coding such as gzip."""
    lines = [value for name, value in scope["headers"] if name == b"content-encoding"]
    codings = {coding.strip().lower() for coding in b",".join(lines).split(b",")} - {b"", b"identity"} if lines else ()
    if codings and _has_content(Headers(scope=scope)):
        raise UnsupportedContentCoding


def _has_content(headers: Headers) -> bool:
    return "transfer-encoding" in headers or headers.get("content-length", "0") != "0"  # RFC 9112, section 6.3


class Negotiated:
    """Refuses a request before its route does anything if Accept accepts none of ``offers``."""

    def __init__(self, app: ASGIApp, offers: tuple[str, ...]) -> None:
        self.app = app
        self.offers = offers

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        _negotiated(scope, self.offers)
        if len(self.offers) == 1:
            return self.app(scope, receive, send)

        async def send_varying(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).add_vary_header("Accept")
            await send(message)

        return self.app(scope, receive, send_varying)
