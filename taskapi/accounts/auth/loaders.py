"""The account lookups of authenticated requests, batched, and the records of the last use."""

from bson import ObjectId

from taskapi.accounts.api_tokens.repository import ApiTokenRepository
from taskapi.accounts.api_tokens.service import ApiTokenService, TokenOwner
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

    def __init__(self, tokens: ApiTokenService) -> None:
        super().__init__(tokens.find_owners)


class SessionsLastUsed(LastUsedRecorder[ObjectId]):
    """When each session was last used."""

    def __init__(self, sessions: SessionRepository) -> None:
        super().__init__(sessions.touch)


class ApiTokensLastUsed(LastUsedRecorder[bytes]):
    """When each API token was last used, by its hash."""

    def __init__(self, tokens: ApiTokenRepository) -> None:
        super().__init__(tokens.touch)
