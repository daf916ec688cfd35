"""The page /live as it is served; tests/server/test_live_page.py opens it in a browser."""

import re
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import httpx
import pytest
from fastapi import FastAPI

from tests.client import is_problem
from tests.conftest import another

ROOT = Path(__file__).parents[2]
FILES = ROOT / "taskapi" / "events" / "live"


async def load(client: httpx.AsyncClient, page: httpx.Response) -> dict[str, httpx.Response]:
    """The files that a page loads, with those that its scripts import, by their paths."""
    waiting = re.findall(r"""<(?:script|link)[^>]*(?:src|href)="(/[^"]+)""", page.text)
    loaded: dict[str, httpx.Response] = {}
    while waiting:
        path = waiting.pop()
        if path not in loaded:
            loaded[path] = await client.get(path)
            imported = re.findall(r"""from "\./([^"]+)";""", loaded[path].text)
            waiting += [f"{path.rpartition('/')[0]}/{name}" for name in imported]
    return loaded


async def test_files_are_from_here_and_kept(anonymous: httpx.AsyncClient) -> None:
    page = await anonymous.get("/live")
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert page.headers["cache-control"] == "no-cache"
    types = set()
    loaded = await load(anonymous, page)
    assert {source.rpartition("/")[2] for source in loaded} == {
        file.name for pattern in ("*.js", "*.css") for file in FILES.glob(pattern)
    }
    for source, answer in loaded.items():
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert (await anonymous.head(source)).headers["content-length"] == str(len(answer.content))
        assert answer.content in {file.read_bytes() for file in FILES.iterdir() if file.is_file()}
        types.add(answer.headers["content-type"])
    assert types == {"text/javascript; charset=utf-8", "text/css; charset=utf-8"}
    is_problem(await anonymous.get("/live/0123456789abcdef/live.js"), 404, "not_found")
    assert (await anonymous.get("/live/")).text == page.text


async def test_policy_lets_nothing_in(anonymous: httpx.AsyncClient) -> None:
    """Neither a script nor a style within the page, nor anything of another host."""
    page = await anonymous.get("/live")
    policy = dict(part.strip().partition(" ")[::2] for part in page.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == policy["form-action"] == policy["base-uri"] == policy["frame-ancestors"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["require-trusted-types-for"] == "'script'"
    assert not re.search(r"unsafe|https?:|\*|blob:", page.headers["content-security-policy"])
    assert not re.search(r"<style|style=|<script(?![^>]*src=)|\son\w+=", page.text)
    everything = "\n".join(file.read_text() for file in FILES.iterdir() if file.is_file()).replace(
        "http://www.w3.org/2000/svg", ""
    )
    assert not re.search(r"https?://|innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|localStorage", everything)


async def test_page_is_whole_under_a_root_path(app: FastAPI) -> None:
    transport = httpx.ASGITransport(app, root_path="/api")
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        page = await client.get("/api/live")
        loaded = await load(client, page)
        assert len(loaded) > 2
        for source, answer in loaded.items():
            assert source.startswith("/api/live/")
            assert answer.status_code == 200
    assert 'href="/api/docs#/auth/register"' in page.text


@pytest.mark.real
async def test_page_goes_with_the_documentation() -> None:
    async with another(docs=False) as client:
        is_problem(await client.get("/live"), 404, "not_found")
        assert "live" not in (await client.get("/")).json()["links"]


def test_the_built_package_has_the_files(tmp_path: Path) -> None:
    """What ``pip install`` builds, as the Dockerfile does."""
    build = "import sys, flit_core.buildapi as flit; print(flit.build_wheel(sys.argv[1]))"
    done = subprocess.run([sys.executable, "-c", build, tmp_path], cwd=ROOT, capture_output=True, text=True, check=True)
    with ZipFile(tmp_path / done.stdout.strip()) as wheel:
        packed = {name.rpartition("/")[2] for name in wheel.namelist() if name.startswith("taskapi/events/live/")}
    assert {file.name for file in FILES.iterdir() if file.is_file()} <= packed
