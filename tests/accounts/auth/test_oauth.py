"""The errors of the token routes as libraries of OAuth read them (RFC 6749, section 5.2)."""

import re

import httpx
import pytest
from bson import ObjectId
from fastapi import FastAPI

from taskapi.accounts.auth.oauth import PATHS, add_oauth_error
from taskapi.accounts.errors import Overloaded
from taskapi.accounts.security.access_tokens import PasswordHasher
from taskapi.accounts.security.throttling import ACCOUNT
from taskapi.accounts.users.documents import UserDocument
from tests.accounts.two_factor.test_router import turn_on
from tests.client import PASSWORD, Account, is_problem
from tests.stored import collection

ADA = {"username": "ada", "password": PASSWORD}
REFRESH = {"grant_type": "refresh_token", "refresh_token": "tsr_wrong"}
MISSING, NUL = "validation_error", "x\x00"
ALLOWED = re.compile(r"[\x20-\x21\x23-\x5b\x5d-\x7e]+")


def oauth_error(answer: httpx.Response, status: int, code: str, error: str) -> str:
    """Asserts that ``answer`` is the problem ``code``, with the error of RFC 6749; its description."""
    problem = is_problem(answer, status, code)
    assert problem["error"] == error
    assert int(answer.headers["content-length"]) == len(answer.content)
    assert answer.headers["cache-control"] == "no-store"
    description = str(problem["error_description"])
    assert ALLOWED.fullmatch(description)
    return description


@pytest.mark.parametrize(
    ("form", "status", "code", "error", "description"),
    [
        ({**ADA, "password": "wrong"}, 401, "bad_credentials", "invalid_grant", "Incorrect username or password"),
        ({**ADA, "scope": "everything"}, 400, "invalid_scope", "invalid_scope", "There is no such scope"),
        (REFRESH, 400, "invalid_grant", "invalid_grant", "The refresh token is no longer valid"),
        ({**REFRESH, "refresh_token": NUL}, 422, "validation_error", "invalid_request", "refresh_token: must not contain"),
        ({"grant_type": "refresh_token"}, 422, MISSING, "invalid_request", "refresh_token: Field required"),
        ({"grant_type": "password"}, 422, MISSING, "invalid_request", "username: Field required; password: Field required"),
        ({**ADA, "grant_type": "client_credentials"}, 422, "validation_error", "unsupported_grant_type", "grant_type: Input"),
        ({"grant_type": "authorization_code", "username": NUL}, 422, MISSING, "unsupported_grant_type", "grant_type: Input"),
    ],
)
@pytest.mark.parametrize("path", ["/token", "/token/"])
async def test_a_refused_grant_says_why(
    ada: Account, path: str, form: dict[str, str], status: int, code: str, error: str, description: str
) -> None:
    answer = await ada.client.post(path, data=form)
    answer.request.url = answer.request.url.copy_with(path="/token")
    assert description in oauth_error(answer, status, code, error)
    assert answer.headers.get("www-authenticate") == ("Bearer" if status == 401 else None)


async def test_problem_type_distinguishes_second_factor_from_disabled_account(ada: Account) -> None:
    await turn_on(ada)
    assert oauth_error(await ada.client.post("/token", data=ADA), 401, "second_factor_required", "invalid_grant")
    assert oauth_error(await ada.client.post("/token", data={**ADA, "otp": "1"}), 401, "bad_second_factor", "invalid_grant")
    await collection(UserDocument).update_one({"_id": ObjectId(ada.id)}, {"$set": {"disabled": True}})
    assert oauth_error(await ada.client.post("/token", data=ADA), 400, "inactive_user", "invalid_grant") == "Inactive user"


@pytest.mark.parametrize("path", ["/token", "/revoke"])
async def test_non_form_request_is_an_invalid_request(anonymous: httpx.AsyncClient, path: str) -> None:
    assert oauth_error(await anonymous.post(path, json=ADA), 415, "unsupported_media_type", "invalid_request")
    assert oauth_error(await anonymous.post(path, data={"token": "x" * 1_100_000}), 413, "body_too_large", "invalid_request")


async def test_revocation_without_a_token_is_an_invalid_request(anonymous: httpx.AsyncClient) -> None:
    answer = await anonymous.post("/revoke", data={"token_type_hint": "access_token"})
    assert oauth_error(answer, 422, "validation_error", "invalid_request").endswith("token: Field required")


async def test_errors_without_an_oauth_code_keep_ours(app: FastAPI, ada: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    for error, status, code in ((Overloaded, 503, "overloaded"), (ZeroDivisionError, 500, "internal_error")):

        async def broken(*_: str, error: type[Exception] = error) -> None:
            raise error

        monkeypatch.setattr(app.state.services[PasswordHasher], "verify", broken)
        assert oauth_error(await ada.client.post("/token", data=ADA), status, code, code)
    monkeypatch.undo()
    answers = [await ada.client.post("/token", data={**ADA, "username": "grace"}) for _ in range(ACCOUNT.free_attempts + 1)]
    assert oauth_error(answers[-1], 429, "too_many_attempts", "too_many_attempts")
    assert int(answers[-1].headers["retry-after"]) > 0


async def test_under_a_root_path_it_is_the_same(app: FastAPI, ada: Account) -> None:
    transport = httpx.ASGITransport(app, root_path="/api", client=("127.0.0.1", 50000))
    async with httpx.AsyncClient(transport=transport, base_url="http://taskapi") as client:
        for path in ("/api/token", "/api/token/"):
            answer = await client.post(path, data={**ADA, "password": "wrong"})
            assert (answer.status_code, answer.json()["error"]) == (401, "invalid_grant")


async def test_other_routes_and_methods_keep_their_errors(ada: Account) -> None:
    assert "error_description" not in is_problem(await ada.client.get("/token"), 405, "method_not_allowed")
    assert "error_description" not in is_problem(await ada.post("/register", json={}), 422, "validation_error")


def test_the_document_shows_the_errors_of_oauth(app: FastAPI) -> None:
    document = app.openapi()
    assert document is app.openapi()
    properties = document["components"]["schemas"]["OAuthProblem"]["properties"]
    assert set(properties) == set(document["components"]["schemas"]["Problem"]["properties"]) | {"error_description"}
    for path, item in document["paths"].items():
        for method, operation in item.items():
            for status, answer in operation["responses"].items():
                if status >= "400":
                    schema = answer["content"]["application/problem+json"]["schema"]["$ref"].rpartition("/")[2]
                    assert schema == ("OAuthProblem" if path in PATHS else "Problem"), (method, path, status)


def test_a_description_has_only_what_rfc_6749_allows() -> None:
    problem = {"status": 400, "error": "bad_request", "detail": 'A "quoted" \\ pässword\n'}
    assert add_oauth_error(problem)["error_description"] == "A 'quoted' ' p'ssword'"
