"""/live: a page that shows the caller's tasks and follows their changes. It loads nothing from other hosts."""

from collections.abc import Mapping
from hashlib import sha256
from importlib.resources import files
from string import Template

from fastapi import APIRouter, FastAPI, Request
from starlette.responses import HTMLResponse, Response

from taskapi.web.routing import strict_router

CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
FILES = files(__package__)
FOREVER = "public, max-age=31536000, immutable"


class Script(Response):
    """A JavaScript file."""

    media_type = "text/javascript"


class Style(Response):
    """A CSS file."""

    media_type = "text/css"


TYPES: dict[str, type[Response]] = {"js": Script, "css": Style}


def install(app: FastAPI) -> None:
    """Adds the page, its scripts and its style.

    The path of the folder of the files changes with their content, so that browsers may keep them. The scripts import one another
    from the same folder.
    """
    pages = strict_router(include_in_schema=False)
    contents = {file.name: file.read_bytes() for file in FILES.iterdir() if file.name.rpartition(".")[2] in TYPES}
    folder = f"/live/{_digest(contents)}"
    for name, content in contents.items():
        _add_file(pages, f"{folder}/{name}", content)
    template = Template((FILES / "live.html").read_text("utf-8"))

    @pages.get("/live", response_class=HTMLResponse)
    async def live(request: Request) -> HTMLResponse:
        root = request.scope.get("root_path", "")
        page = template.substitute(files=root + folder, docs=f"{root}/docs")
        return HTMLResponse(page, headers={"Content-Security-Policy": CONTENT_POLICY, "Cache-Control": "no-cache"})

    app.router.routes.extend(pages.routes)


def _add_file(pages: APIRouter, path: str, content: bytes) -> None:
    response_class = TYPES[path.rpartition(".")[2]]

    @pages.get(path, response_class=response_class)
    async def file() -> Response:
        return response_class(content, headers={"Cache-Control": FOREVER})


def _digest(contents: Mapping[str, bytes]) -> str:
    whole = sha256()
    for name in sorted(contents):
        whole.update(sha256(contents[name]).digest())
    return whole.hexdigest()[:16]
