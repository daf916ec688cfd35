"""Signing in."""

from taskapi.auth.schemas import SignIn, Token
from taskapi.errors import BadCredentials, InactiveUser
from taskapi.security import PasswordHasher, TokenCodec
from taskapi.users import service as users


async def sign_in(form: SignIn, hasher: PasswordHasher, codec: TokenCodec) -> Token:
    """An access token for a user name and password. An unknown name takes as long as a wrong password.

    Raises:
        BadCredentials: they do not match an account.
        InactiveUser: they do, but it is disabled.
        Overloaded: too many others are signing in.
    """
    user, stored = await users.for_sign_in(form.username)
    matches, renewed = await hasher.verify(form.password, stored)
    if user is None or stored is None or not matches:
        raise BadCredentials
    if user.disabled:
        raise InactiveUser
    if renewed:
        await users.renew_hash(user, stored, renewed)
    token = codec.encode(user.id)
    return Token(access_token=token.text, expires_in=token.expires_in)
