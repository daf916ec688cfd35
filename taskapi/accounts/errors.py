"""What can go wrong with accounts and credentials: a branch of the tree in ``errors.py``.

DomainError
├── AlreadyTaken             a unique name is in use
│   ├── UsernameTaken
│   ├── EmailTaken
│   └── TokenNameTaken       the account has an API token of this name
├── TooManyTokens            the account has as many API tokens as one may have
├── LastAdmin                no active admin would be left
├── ExportUnderWay           the account is being exported already
├── WrongPassword            the current password was not given correctly
├── WrongCode                the code is not one of the authenticator that is to be confirmed
├── TwoFactorState           the second factor is not as this needs it
│   ├── NoEnrolment
│   ├── TwoFactorOn
│   └── TwoFactorOff
├── InactiveUser             the account is disabled
├── InvalidGrant             the refresh token is wrong, spent or expired
├── InvalidOneTimeToken      the token of a mail is wrong, used or expired
├── NothingToVerify          no address of the account waits to be verified
├── InvalidScope             there is no such scope
├── Forbidden                the credential is good, but not for this
│   ├── InsufficientScope
│   └── SessionRequired
├── NotAuthenticated         no valid proof of who calls
│   ├── BadCredentials
│   ├── SecondFactorRequired
│   ├── BadSecondFactor
│   └── InvalidToken
└── Unavailable
    ├── Overloaded           too many passwords are being hashed
    ├── UnreadableFactor     the service lacks the key of a second factor
    └── TooMany              the caller is to slow down
        ├── TooManyAttempts  what they do looks like guessing
        ├── TooManyRequests  the account has used up its requests for now
        └── TooManyAtOnce    the account has too many expensive requests under way
"""

from taskapi.core.errors import DomainError, Unavailable


class AlreadyTaken(DomainError):
    """A value that must be unique is in use."""

    code = "already_taken"


class UsernameTaken(AlreadyTaken):
    code = "username_taken"
    detail = "Username already registered"


class EmailTaken(AlreadyTaken):
    code = "email_taken"
    detail = "Email already registered"


class LastAdmin(DomainError):
    code = "last_admin"
    detail = "This is the last active admin; make somebody else one first."


class ExportUnderWay(DomainError):
    code = "export_under_way"
    detail = "An export of your account is under way; wait until it is complete."


class TokenNameTaken(AlreadyTaken):
    code = "token_name_taken"
    detail = "You have a token of this name; rotate it, or delete it first."


class TooManyTokens(DomainError):
    code = "too_many_tokens"
    detail = "You have 50 tokens; delete one first."


class WrongPassword(DomainError):
    code = "wrong_password"
    detail = "Current password is incorrect"


class WrongCode(DomainError):
    code = "wrong_code"
    detail = "That code is not valid right now. Check your authenticator's clock."


class TwoFactorState(DomainError):
    """The second factor is not as this needs it."""

    code = "two_factor_state"


class NoEnrolment(TwoFactorState):
    code = "no_enrolment"
    detail = "There is no second factor to confirm; begin with one, and confirm it within ten minutes."


class TwoFactorOn(TwoFactorState):
    code = "two_factor_on"
    detail = "You have a second factor; turn it off first."


class TwoFactorOff(TwoFactorState):
    code = "two_factor_off"
    detail = "You have no second factor."


class InactiveUser(DomainError):
    code = "inactive_user"
    detail = "Inactive user"


class InvalidGrant(DomainError):
    code = "invalid_grant"  # as RFC 6749, section 5.2 names it
    detail = "The refresh token is no longer valid; sign in again."


class InvalidOneTimeToken(DomainError):
    code = "invalid_one_time_token"
    detail = "The token is wrong, already used or expired; request a new mail."


class NothingToVerify(DomainError):
    code = "nothing_to_verify"
    detail = "No address of yours waits to be verified."


class InvalidScope(DomainError):
    code = "invalid_scope"  # as RFC 6749, section 5.2 names it
    detail = "There is no such scope; there are tasks:read, tasks:write, account and admin."


class Forbidden(DomainError):
    """The credential is good, but not for this."""

    code = "forbidden"


class InsufficientScope(Forbidden):
    """The token lacks ``scope``, which the route needs (RFC 6750, section 3.1)."""

    code = "insufficient_scope"

    def __init__(self, scope: str) -> None:
        super().__init__(f"Your token does not hold the scope {scope}.")
        self.scope = scope


class SessionRequired(Forbidden):
    code = "session_required"
    detail = "Sign in for this: an API token is not enough."


class NotAuthenticated(DomainError):
    code = "not_authenticated"
    detail = "Not authenticated"


class BadCredentials(NotAuthenticated):
    code = "bad_credentials"
    detail = "Incorrect username or password"


class SecondFactorRequired(NotAuthenticated):
    code = "second_factor_required"
    detail = "Send a code of your authenticator, or a recovery code, in the field otp as well."


class BadSecondFactor(NotAuthenticated):
    code = "bad_second_factor"
    detail = "The code is wrong, expired or already used; wait for the next one."


class InvalidToken(NotAuthenticated):
    code = "invalid_token"
    detail = "Could not validate credentials"


class Overloaded(Unavailable):
    code = "overloaded"
    detail = "Too many passwords are being checked at the moment; try again shortly."


class UnreadableFactor(Unavailable):
    """No code can be checked, right or wrong, until the operator sets the key that made the second factor."""

    code = "second_factor_unreadable"
    detail = "Your second factor cannot be checked: the service runs without the key it was made with. Tell whoever operates it."
    retry_after = 300


class TooMany(Unavailable):
    """The caller is to slow down, and may come back in ``retry_after`` seconds."""

    code = "too_many"

    def __init__(self, retry_after: int) -> None:
        super().__init__()
        self.retry_after = retry_after


class TooManyAttempts(TooMany):
    code = "too_many_attempts"
    detail = "There were too many attempts; try again later."


class TooManyRequests(TooMany):
    code = "too_many_requests"
    detail = "You have sent too many requests; slow down."


class TooManyAtOnce(TooMany):
    code = "too_many_at_once"
    detail = "Your account has too many requests of this kind under way; wait for their answers."
