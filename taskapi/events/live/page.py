"""/live: a page that shows the caller's tasks and follows their changes. It loads nothing from other hosts."""

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
FOREVER = "public, max-age=31536000, immutable"


class Script(Response):
    """A JavaScript file."""

    media_type = "text/javascript"


class Style(Response):
    """A CSS file."""

    media_type = "text/css"


def install(app: FastAPI) -> None:
    """Adds the page, its script and its style. The paths of the two change with their content, so that browsers may keep them."""
    pages = strict_router(include_in_schema=False)
    script = _add_file(pages, "live", "js", Script)
    style = _add_file(pages, "live", "css", Style)
    template = Template(_read("live.html"))

    @pages.get("/live", response_class=HTMLResponse)
    async def live(request: Request) -> HTMLResponse:
        root = request.scope.get("root_path", "")
        page = template.substitute(script=root + script, style=root + style, docs=f"{root}/docs")
        return HTMLResponse(page, headers={"Content-Security-Policy": CONTENT_POLICY, "Cache-Control": "no-cache"})

    app.router.routes.extend(pages.routes)


def _add_file(pages: APIRouter, name: str, suffix: str, response_class: type[Response]) -> str:
    content = _read(f"{name}.{suffix}").encode()
    path = f"/live/{name}.{sha256(content).hexdigest()[:16]}.{suffix}"

    @pages.get(path, response_class=response_class)
    async def file() -> Response:
        return response_class(content, headers={"Cache-Control": FOREVER})

    return path


def _read(name: str) -> str:
    return (files(__package__) / name).read_text("utf-8")
