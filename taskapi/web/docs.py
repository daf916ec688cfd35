"""/docs and /redoc with all files from this server: the pages load nothing from other hosts."""

from importlib.resources import files
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.openapi.docs import get_redoc_html, get_swagger_ui_html
from fastapi.staticfiles import StaticFiles
from starlette.responses import HTMLResponse, Response
from starlette.types import Scope

from taskapi.web.routing import strict_router

ASSETS = "/docs/assets"
CONTENT_POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; font-src 'self' data:; connect-src 'self'; worker-src 'self' blob:; frame-ancestors 'none'"
)


class Assets(StaticFiles):
    """Static files that a browser may cache for an hour."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """The response for the file; 404 if there is none, whatever the method."""
        if scope["method"] not in ("GET", "HEAD"):
            await super().get_response(path, {**scope, "method": "HEAD"})
        return await super().get_response(path, scope)

    def file_response(self, *arguments: Any, **options: Any) -> Response:
        """The file, or 304 if the browser has it."""
        response = super().file_response(*arguments, **options)
        response.headers["Cache-Control"] = "public, max-age=3600"
        return response


def install(app: FastAPI) -> None:
    """Adds the two pages and the scripts they need, from the package ``fastapi-offline``."""
    pages = strict_router(include_in_schema=False)

    @pages.get("/docs", response_class=HTMLResponse)
    async def swagger(request: Request) -> HTMLResponse:
        root = request.scope.get("root_path", "")
        return _page(
            get_swagger_ui_html(
                title=f"{app.title}: interactive documentation",
                openapi_url=f"{root}{app.openapi_url}",
                swagger_js_url=f"{root}{ASSETS}/swagger-ui-bundle.js",
                swagger_css_url=f"{root}{ASSETS}/swagger-ui.css",
                swagger_favicon_url=f"{root}{ASSETS}/favicon.png",
                swagger_ui_parameters={"displayRequestDuration": True},
            )
        )

    @pages.get("/redoc", response_class=HTMLResponse)
    async def redoc(request: Request) -> HTMLResponse:
        root = request.scope.get("root_path", "")
        return _page(
            get_redoc_html(
                title=f"{app.title}: reference",
                openapi_url=f"{root}{app.openapi_url}",
                redoc_js_url=f"{root}{ASSETS}/redoc.standalone.js",
                redoc_favicon_url=f"{root}{ASSETS}/favicon.png",
                with_google_fonts=False,
            )
        )

    app.router.routes.extend(pages.routes)
    app.mount(ASSETS, Assets(directory=Path(str(files("fastapi_offline"))) / "static"), name="docs-assets")


def _page(page: HTMLResponse) -> HTMLResponse:
    page.headers["Content-Security-Policy"] = CONTENT_POLICY
    page.headers["Cache-Control"] = "no-cache"
    return page
