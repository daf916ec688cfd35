"""Changes of an account whose session ends while they are under way."""

from typing import Any

import pytest
from bson import ObjectId

from taskapi.accounts.security.access_tokens import PasswordHasher
from taskapi.accounts.security.throttling import Throttle
from taskapi.accounts.users.profile import ProfileService
from taskapi.accounts.users.repository import UserRepository
from taskapi.accounts.users.schemas import UserRead, UserUpdate
from taskapi.accounts.users.service import Reauthenticator
from taskapi.core.errors import InvalidToken
from tests.client import PASSWORD, Account, is_problem, sign_in, stored_user
from tests.stored import audit_log, service


@pytest.mark.parametrize(
    "change",
    [
        {"password": "a staple of batteries", "current_password": PASSWORD},
        {"email": "thief@example.com"},
        {"username": "eve"},
    ],
    ids=lambda change: next(iter(change)),
)
async def test_ended_session_changes_nothing_and_stays_ended(ada: Account, change: dict[str, Any]) -> None:
    before = await stored_user(ada.id)
    (session,) = before["sessions"]
    assert (await ada.post("/logout/all")).status_code == 204
    with pytest.raises(InvalidToken):
        await service(ProfileService).change(
            UserRead.model_validate(before), UserUpdate(**change), reauthenticator(session), audit_log()
        )
    assert await stored_user(ada.id) == {**before, "sessions": []}
    is_problem(await ada.get("/users/me"), 401, "invalid_token")
    assert (await sign_in(ada.client, "ada")).status_code == 200


def reauthenticator(session: ObjectId) -> Reauthenticator:
    """That of a request which was authenticated before the session ended."""
    return Reauthenticator(service(UserRepository), service(PasswordHasher), service(Throttle), session, audit_log())
