"""Libraries of OAuth 2, as programs use them, against the real server: they sign in, refresh, revoke, and hear why not."""

import logging
import secrets
from typing import Any

import pytest
from authlib.integrations.base_client import OAuthError
from authlib.integrations.httpx_client import AsyncOAuth2Client, OAuth2Client
from oauthlib.oauth2 import InvalidGrantError, InvalidScopeError, LegacyApplicationClient, OAuth2Error
from oauthlib.oauth2.rfc6749.errors import UnsupportedGrantTypeError
from requests_oauthlib import OAuth2Session

from tests.client import PASSWORD
from tests.leaks import keep_secret
from tests.server.process import Server
from tests.tools import PATIENCE_SECONDS

pytestmark = pytest.mark.real

CLIENT = "a-script"  # of a client the API asks nothing
WRONG = {"username": "nobody-of-oauth", "password": "wrong"}
REFUSED: list[tuple[dict[str, Any], str, str]] = [
    (WRONG, "invalid_grant", "Incorrect username or password"),
    (
        {**WRONG, "password": "x\x00"},
        "invalid_request",
        "Some values are not valid. password: must not contain the NUL character",
    ),
    ({**WRONG, "password": ""}, "invalid_request", "Some values are not valid. password: Field required"),
]


@pytest.fixture(scope="module")
def name(server: Server) -> str:
    """Somebody with an account: a new one, as a worker that takes tests from another sets the module up once more."""
    name = f"oauth-user-{secrets.token_hex(4)}"
    server.account(name)
    return name


@pytest.fixture(autouse=True)
def plain_http(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")
    caplog.set_level(logging.WARNING, "requests_oauthlib")  # at DEBUG it logs the password


def kept(token: dict[str, Any]) -> dict[str, Any]:
    for part in ("access_token", "refresh_token"):
        keep_secret(token[part], part)
    return token


def requests_session(server: Server, grant_type: str = "password", **options: Any) -> OAuth2Session:
    client = LegacyApplicationClient(CLIENT, **options)
    client.grant_type = grant_type
    return OAuth2Session(client=client, auto_refresh_url=f"{server.url}/token", auto_refresh_kwargs={"client_id": CLIENT})


def test_requests_oauthlib_signs_in_and_refreshes(server: Server, name: str) -> None:
    with requests_session(server) as session:
        session.token_updater = kept
        kept(session.fetch_token(f"{server.url}/token", username=name, password=PASSWORD))
        assert session.get(f"{server.url}/users/me").json()["username"] == name
        spent = session.token["refresh_token"]
        kept(session.refresh_token(f"{server.url}/token"))
        assert session.token["refresh_token"] != spent
        assert session.get(f"{server.url}/tasks").json() == []


@pytest.mark.parametrize(("form", "error", "sentence"), REFUSED)
def test_requests_oauthlib_says_why(server: Server, form: dict[str, Any], error: str, sentence: str) -> None:
    with requests_session(server) as session, pytest.raises(OAuth2Error) as caught:
        session.fetch_token(f"{server.url}/token", **form)
    assert (caught.value.error, caught.value.description) == (error, sentence)


def test_requests_oauthlib_reports_why_requests_are_refused(server: Server, name: str) -> None:
    url = f"{server.url}/token"
    with (
        requests_session(server, scope=["everything"]) as session,
        pytest.raises(InvalidScopeError, match="There is no such scope"),
    ):
        session.fetch_token(url, username=name, password=PASSWORD)
    with requests_session(server) as session, pytest.raises(InvalidGrantError, match="Sign in again"):
        session.refresh_token(url, refresh_token="tsr_wrong")
    with (
        requests_session(server, "client_credentials") as session,
        pytest.raises(UnsupportedGrantTypeError, match="Input should be 'password' or 'refresh_token'"),
    ):
        session.fetch_token(url, username=name, password=PASSWORD)


def test_authlib_signs_in_refreshes_and_revokes(server: Server, name: str) -> None:
    with OAuth2Client(CLIENT, token_endpoint=f"{server.url}/token", verify=False, timeout=PATIENCE_SECONDS) as client:
        kept(client.fetch_token(username=name, password=PASSWORD))
        assert client.get(f"{server.url}/users/me").json()["username"] == name
        kept(client.refresh_token())
        assert client.get(f"{server.url}/tasks").json() == []
        revoked = client.revoke_token(
            f"{server.url}/revoke", token=client.token["refresh_token"], token_type_hint="refresh_token"
        )
        assert (revoked.status_code, revoked.content) == (200, b"")
        assert client.get(f"{server.url}/tasks").status_code == 401
        with pytest.raises(OAuthError, match="invalid_grant: The refresh token is no longer valid"):
            client.refresh_token()
        refused = client.revoke_token(f"{server.url}/revoke", token="x" * 1001)
        assert (refused.status_code, refused.json()["error"]) == (422, "invalid_request")


async def test_authlib_says_why_when_it_waits_for_nobody(server: Server, name: str) -> None:
    async with AsyncOAuth2Client(CLIENT, token_endpoint=f"{server.url}/token", verify=False, timeout=PATIENCE_SECONDS) as client:
        for form, error, sentence in REFUSED:
            with pytest.raises(OAuthError) as caught:
                await client.fetch_token(grant_type="password", **form)
            assert (caught.value.error, caught.value.description) == (error, sentence)
        with pytest.raises(OAuthError, match="unsupported_grant_type: Some values are not valid"):
            await client.fetch_token(grant_type="client_credentials")
        with pytest.raises(OAuthError, match="invalid_scope: There is no such scope"):
            await client.fetch_token(username=name, password=PASSWORD, scope="everything")
        kept(await client.fetch_token(username=name, password=PASSWORD))
        assert (await client.get(f"{server.url}/users/me")).json()["username"] == name
