"""Conditional requests (RFC 9110, section 13). A task's entity tag is its version, and how often its owner's name changed."""

import hashlib
import re
from collections.abc import Iterable
from typing import Annotated, Any

from fastapi import Depends, Request

from taskapi.core.errors import PreconditionRequired
from taskapi.core.settings import Settings
from taskapi.db.integers import INT64_MAX, INT64_MIN
from taskapi.web.services import services_of

ANY = "*"
ENTITY_TAG = re.compile(r'(?:W/)?"([^"]*)"')
CODINGS = frozenset({"gzip", "br", "zstd", "deflate", "compress", "bzip2"})
VERSION = re.compile(r"(0|-?[1-9][0-9]{0,18})(?:\.[1-9][0-9]{0,9})?", re.ASCII)  # a script may have stored one below 1
ETAG_HEADER = {"ETag": {"description": "The entity tag of this version.", "schema": {"type": "string"}, "example": '"1"'}}
NOT_MODIFIED: dict[int | str, dict[str, Any]] = {304: {"description": "Your copy is current.", "headers": ETAG_HEADER}}


class NotModified(Exception):
    """The caller's copy is current, so no body is sent."""

    def __init__(self, headers: dict[str, str]) -> None:
        super().__init__(headers["ETag"])
        self.headers = headers


def etag(version: int, renames: int = 0) -> str:
    """The entity tag of a task at ``version``, with the number of its owner's ``renames``: the task shows the owner's name."""
    return f'"{version}.{renames}"' if renames else f'"{version}"'


def list_etag(members: Iterable[tuple[str, int]], about: str) -> str:
    """The entity tag of a page of tasks, derived from their ids and versions and from the headers about the whole list."""
    text = f"{about};" + ";".join(f"{task_id}:{version}" for task_id, version in members)
    return content_etag(text.encode())


def content_etag(content: bytes) -> str:
    """The entity tag of a response that is derived from its content."""
    return f'"{hashlib.blake2b(content, digest_size=12).hexdigest()}"'


def validators(request: Request, current: str) -> dict[str, str]:
    """The headers of a response whose entity tag is ``current``.

    Raises:
        NotModified: If-None-Match names it already. The comparison is the weak one: a proxy that compresses makes tags weak.
    """
    headers = {"ETag": current, "Cache-Control": "private, no-cache", "Vary": "Authorization"}
    asked = _tags(request, "if-none-match")
    if asked is not None and (ANY in asked or current.strip('"') in asked):
        raise NotModified(headers)
    return headers


def _tags(request: Request, header: str) -> set[str] | None:
    """The opaque parts of a header's entity tags, weak or strong, without the coding that a proxy appended; or ``*``.

    None without the header.
    """
    lines = request.headers.getlist(header)
    if not lines:
        return None
    return {ANY} if lines == [ANY] else {_strip_coding(opaque) for opaque in ENTITY_TAG.findall(",".join(lines))}


def _strip_coding(opaque: str) -> str:
    # Proxies that compress an answer add its coding to the tag: 1-gzip (Apache, Caddy, lighttpd), 1--gzip (Jetty), 1;gzip.
    # Our tags contain neither "-" nor ";".
    tag, _, coding = opaque.replace(";", "-").rpartition("-")
    return tag.removesuffix("-") if coding in CODINGS else opaque


async def offered_versions(request: Request) -> frozenset[int] | None:
    """The versions that If-Match allows; None if it allows any."""
    given = _tags(request, "if-match")
    if given is None or ANY in given:
        return None
    # A weak tag is one of ours that a compressing proxy has weakened; its version is still exact.
    versions = (int(match[1]) for match in map(VERSION.fullmatch, given) if match)
    return frozenset(version for version in versions if INT64_MIN <= version <= INT64_MAX)


async def expected_versions(request: Request) -> frozenset[int] | None:
    """As ``offered_versions``, for a route that changes a task.

    Raises:
        PreconditionRequired: the service insists on If-Match and there is none.
    """
    if services_of(request)[Settings].require_if_match and "if-match" not in request.headers:
        raise PreconditionRequired
    return await offered_versions(request)


OfferedVersions = Annotated[frozenset[int] | None, Depends(offered_versions)]
ExpectedVersions = Annotated[frozenset[int] | None, Depends(expected_versions)]


def documented(header: str, meaning: str) -> dict[str, Any]:
    """The ``openapi_extra`` of a route that reads this header."""
    return {
        "parameters": [{"name": header, "in": "header", "required": False, "description": meaning, "schema": {"type": "string"}}]
    }


IF_MATCH = documented("If-Match", "The `ETag` of your copy: change only this version.")
IF_NONE_MATCH = documented("If-None-Match", "The `ETag` of your copy: 304 if it is current.")
