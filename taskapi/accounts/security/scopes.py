"""What a credential may be used for (RFC 6749, section 3.3)."""

from typing import Final, Literal

from taskapi.accounts.errors import InvalidScope

Scope = Literal["tasks:read", "tasks:write", "account", "admin"]
Role = Literal["user", "admin"]
Scopes = frozenset[str]

MEANING: Final[dict[str, str]] = {
    "tasks:read": "Read your tasks.",
    "tasks:write": "Create, change and delete your tasks.",
    "account": "Read and change your account.",
    "admin": "Manage all accounts; for admins.",
}
OF_ROLE: Final[dict[str, Scopes]] = {"user": frozenset(MEANING) - {"admin"}, "admin": frozenset(MEANING)}


def grant_scopes(asked: str, allowed: Scopes) -> Scopes:
    """Those of the scopes ``asked`` for, separated by spaces, that are among ``allowed``; all of them when none is asked for.

    Raises:
        InvalidScope: one does not exist, or none is left.
    """
    names = frozenset(asked.split())
    if not names <= MEANING.keys():
        raise InvalidScope
    if names and not names & allowed:
        raise InvalidScope("Your account can have none of these scopes.")
    return names & allowed if names else allowed
