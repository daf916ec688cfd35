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


TYPES = {"js": "text/javascript", "css": "text/css"}


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
    media_type = TYPES[path.rpartition(".")[2]]

    @pages.get(path, response_class=Response)
    async def file() -> Response:
        return Response(content, media_type=media_type, headers={"Cache-Control": FOREVER})


def _digest(contents: Mapping[str, bytes]) -> str:
    whole = sha256()
    for name in sorted(contents):
        whole.update(sha256(contents[name]).digest())
    return whole.hexdigest()[:16]
