"""The look-ups and last-use records of authenticated requests, shared by requests that arrive together."""

from bson import ObjectId

from taskapi.accounts.api_tokens import repository as stored_tokens
from taskapi.accounts.api_tokens import service as api_tokens
from taskapi.accounts.api_tokens.service import TokenOwner
from taskapi.accounts.sessions.repository import SessionRepository
from taskapi.accounts.users.repository import UserRepository
from taskapi.accounts.users.schemas import Account
from taskapi.core.data_loader import DataLoader
from taskapi.core.last_used import LastUsedRecorder


class AccountLoader(DataLoader[ObjectId, Account]):
    """Active accounts by their ids."""

    def __init__(self, users: UserRepository) -> None:
        super().__init__(users.find_active)


class TokenOwnerLoader(DataLoader[bytes, TokenOwner]):
    """The owners of API tokens, by the hashes of the tokens."""

    def __init__(self) -> None:
        super().__init__(api_tokens.holders)


class SessionsLastUsed(LastUsedRecorder[ObjectId]):
    """When each session was last used."""

    def __init__(self, sessions: SessionRepository) -> None:
        super().__init__(sessions.touch)


class ApiTokensLastUsed(LastUsedRecorder[bytes]):
    """When each API token was last used, by its hash."""

    def __init__(self) -> None:
        super().__init__(stored_tokens.touch_api_token)
