"""The errors of accounts and credentials, in the categories of ``core.errors``.

BadRequest
├── AlreadyTaken             a unique name is in use
│   ├── UsernameTaken
│   ├── EmailTaken
│   └── TokenNameTaken       the account has an API token of this name
├── WrongPassword            the current password was not given correctly
├── WrongCode                the code does not confirm the authenticator
├── InactiveUser             the account is disabled
├── InvalidGrant             the refresh token is wrong, spent or expired
├── InvalidOneTimeToken      the token of a mail is wrong, used or expired
└── InvalidScope             there is no such scope
NotAuthenticated
├── BadCredentials
├── SecondFactorRequired
└── BadSecondFactor
Forbidden
└── SessionRequired          an API token is not enough
Conflict
├── TooManyTokens            the account has the maximum number of API tokens
├── LastAdmin                no active admin would be left
├── ExportUnderWay           an export of the account is already running
├── NothingToVerify          the account has no unverified e-mail address
└── TwoFactorState           the second factor is not in the required state
    ├── NoEnrolment
    ├── TwoFactorOn
    └── TwoFactorOff
Unavailable
├── Overloaded               too many passwords are being hashed
├── UnreadableFactor         the service lacks the key of a second factor
└── RateLimited
    └── TooManyAttempts      the caller may be guessing
"""

from taskapi.core.errors import BadRequest, Conflict, Forbidden, NotAuthenticated, RateLimited, Unavailable


class AlreadyTaken(BadRequest):
    """A value that must be unique is in use."""


class UsernameTaken(AlreadyTaken):
    code = "username_taken"
    detail = "Username already registered"


class EmailTaken(AlreadyTaken):
    code = "email_taken"
    detail = "Email already registered"


class LastAdmin(Conflict):
    code = "last_admin"
    detail = "This is the last active admin. Promote another account first."


class ExportUnderWay(Conflict):
    code = "export_under_way"
    detail = "An export of your account is in progress. Wait until it is complete."


class TokenNameTaken(AlreadyTaken):
    code = "token_name_taken"
    detail = "You already have a token with this name. Rotate it, or delete it first."


class TooManyTokens(Conflict):
    code = "too_many_tokens"
    detail = "You have 50 tokens, the maximum. Delete one first."


class WrongPassword(BadRequest):
    code = "wrong_password"
    detail = "Current password is incorrect"


class WrongCode(BadRequest):
    code = "wrong_code"
    detail = "That code is not valid right now. Check your authenticator's clock."


class TwoFactorState(Conflict):
    """The second factor is not in the state that the operation requires."""


class NoEnrolment(TwoFactorState):
    code = "no_enrolment"
    detail = "There is no second factor to confirm. Set one up, and confirm it within ten minutes."


class TwoFactorOn(TwoFactorState):
    code = "two_factor_on"
    detail = "You already have a second factor. Turn it off first."


class TwoFactorOff(TwoFactorState):
    code = "two_factor_off"
    detail = "You have no second factor."


class InactiveUser(BadRequest):
    code = "inactive_user"
    detail = "Inactive user"


class InvalidGrant(BadRequest):
    code = "invalid_grant"  # as RFC 6749, section 5.2 names it
    detail = "The refresh token is no longer valid. Sign in again."


class InvalidOneTimeToken(BadRequest):
    code = "invalid_one_time_token"
    detail = "The token is wrong, expired or already used. Request a new mail."


class NothingToVerify(Conflict):
    code = "nothing_to_verify"
    detail = "You have no e-mail address to verify."


class InvalidScope(BadRequest):
    code = "invalid_scope"  # as RFC 6749, section 5.2 names it
    detail = "There is no such scope. The scopes are tasks:read, tasks:write, account and admin."


class SessionRequired(Forbidden):
    code = "session_required"
    detail = "Sign in to do this. An API token is not enough."


class BadCredentials(NotAuthenticated):
    code = "bad_credentials"
    detail = "Incorrect username or password"


class SecondFactorRequired(NotAuthenticated):
    code = "second_factor_required"
    detail = "Also send a code from your authenticator app, or a recovery code, in the field otp."


class BadSecondFactor(NotAuthenticated):
    code = "bad_second_factor"
    detail = "The code is wrong, expired or already used. Wait for the next one."


class Overloaded(Unavailable):
    code = "overloaded"
    detail = "Too many passwords are being checked. Try again shortly."


class UnreadableFactor(Unavailable):
    """No code can be checked, right or wrong, until the operator sets the key that made the second factor."""

    code = "second_factor_unreadable"
    detail = "Your second factor cannot be checked: the service lacks the key with which it was created. Tell the operator."
    retry_after = 300


class TooManyAttempts(RateLimited):
    code = "too_many_attempts"
    detail = "There were too many attempts. Try again later."
