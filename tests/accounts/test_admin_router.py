"""What an admin asks for while they cease to be one."""

import json
from collections.abc import AsyncIterator

import httpx
import pytest

from tests.accounts.api_tokens.calls import make as make_token
from tests.client import Account, make_admin, stored_user

JSON = {"Content-Type": "application/json"}


@pytest.mark.real  # mongomock has no $map
@pytest.mark.parametrize("way", ["session", "token"])
async def test_an_admin_demoted_meanwhile_promotes_nobody(anonymous: httpx.AsyncClient, bob: Account, way: str) -> None:
    """Or an admin who expects that could keep a request waiting, and leave an accomplice behind."""
    root, carol = await make_admin(anonymous, "root"), await make_admin(anonymous, "carol")
    token = carol.token if way == "session" else (await make_token(carol, "both", "admin", "tasks:read"))["token"]

    async def body() -> AsyncIterator[bytes]:
        assert (await root.patch(f"/users/{carol.id}", json={"role": "user"})).status_code == 200
        yield json.dumps({"role": "admin"}).encode()

    headers = {**JSON, "Authorization": f"Bearer {token}"}
    answer = await anonymous.patch(f"/users/{bob.id}", content=body(), headers=headers)
    assert answer.status_code == (401 if way == "session" else 403)
    assert (await stored_user(bob.id))["role"] == "user"
