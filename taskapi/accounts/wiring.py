"""Creates the repositories and services of accounts, one object of each class per application."""

from collections.abc import Iterator
from datetime import timedelta

from taskapi.accounts.api_tokens.repository import ApiTokenRepository
from taskapi.accounts.api_tokens.service import ApiTokenService
from taskapi.accounts.auth.loaders import AccountLoader, ApiTokensLastUsed, SessionsLastUsed, TokenOwnerLoader
from taskapi.accounts.auth.service import SignIn
from taskapi.accounts.deletion.repository import DeletionRepository
from taskapi.accounts.deletion.service import DeletionService
from taskapi.accounts.recovery.emails import AccountEmails
from taskapi.accounts.recovery.repository import OneTimeTokenRepository
from taskapi.accounts.recovery.service import AccountRecovery
from taskapi.accounts.recovery.tokens import OneTimeTokens
from taskapi.accounts.security.access_tokens import PasswordHasher, TokenCodec
from taskapi.accounts.security.repository import ThrottleRepository
from taskapi.accounts.security.request_quota import RequestLimit
from taskapi.accounts.security.throttling import Throttle
from taskapi.accounts.sessions.repository import SessionRepository
from taskapi.accounts.sessions.service import SessionPolicy, SessionService
from taskapi.accounts.two_factor.repository import TwoFactorRepository
from taskapi.accounts.two_factor.service import TwoFactorKeys, TwoFactorService
from taskapi.accounts.users.admin_repository import AdminRepository
from taskapi.accounts.users.admins import AdminService
from taskapi.accounts.users.email_repository import EmailRepository
from taskapi.accounts.users.profile import ProfileService
from taskapi.accounts.users.renaming_repository import RenamingRepository
from taskapi.accounts.users.repository import UserRepository
from taskapi.accounts.users.service import UserService
from taskapi.audit.repository import SecurityEventRepository
from taskapi.audit.service import SecurityEventService
from taskapi.core.keys import Keyring
from taskapi.core.settings import Settings
from taskapi.db.connection import Database
from taskapi.mail.queue import MailJob, MailWorker, Outbox
from taskapi.mail.repository import MailRepository
from taskapi.mail.transports import Send

MAIL_SECONDS = 5  # between two checks for mails that other workers left


def wire(settings: Settings, database: Database, keys: Keyring, send: Send) -> Iterator[object]:
    """The repositories and services of accounts, security events and mails, which ``send`` sends."""
    yield (events := SecurityEventRepository(database, timedelta(days=settings.event_days)))
    yield SecurityEventService(events, settings.query_timeout_ms)
    yield (mails := MailRepository(database))
    yield (users := UserRepository(database))
    yield (emails := EmailRepository(database))
    yield (stored_sessions := SessionRepository(database))
    yield (admins := AdminRepository(database, stored_sessions.find_live))
    yield RenamingRepository(database)
    yield (hasher := PasswordHasher(**settings.hashing))
    yield (codec := TokenCodec(keys.signing_keys(), lifetime=timedelta(minutes=settings.access_token_minutes)))
    yield (factor_keys := TwoFactorKeys(keys.cipher("second factors"), keys.signer("recovery codes")))
    yield (throttle := throttle_of(settings, database, keys))
    if settings.requests_per_minute:
        yield RequestLimit(settings.requests_per_minute)

    yield (stored_tokens := OneTimeTokenRepository(database))
    yield (tokens := OneTimeTokens(stored_tokens, emails, keys.signer("one-time tokens")))
    account_emails = AccountEmails(tokens, emails, events, settings.mail_from, settings.app_url)
    yield (mail := MailJob("mail", MailWorker(mails, account_emails.compose, send).run_due, MAIL_SECONDS))
    yield (outbox := Outbox(mails, mail.wake, settings.email_local_domains))
    yield AccountRecovery(tokens, emails, hasher, throttle, outbox)
    yield UserService(users, hasher, throttle, outbox)
    yield ProfileService(users, emails, outbox)
    yield AdminService(admins, hasher, throttle, outbox, settings.query_timeout_ms)

    yield (deletions := DeletionRepository(database, admins))
    yield DeletionService(deletions, stored_sessions, timedelta(days=settings.leaving_days))
    yield (stored_api_tokens := ApiTokenRepository(database))
    yield (api_tokens := ApiTokenService(stored_api_tokens))
    yield (factors := TwoFactorRepository(database))
    yield (two_factor := TwoFactorService(factors, factor_keys, throttle))
    yield (accounts := AccountLoader(users))
    yield TokenOwnerLoader(api_tokens)
    yield SessionsLastUsed(stored_sessions)
    yield ApiTokensLastUsed(stored_api_tokens)
    idle, max_lifetime = timedelta(days=settings.refresh_token_days), timedelta(days=settings.session_days)
    policy = SessionPolicy(idle=idle, max_lifetime=max_lifetime, signer=keys.signer("refresh tokens"))
    yield (sessions := SessionService(stored_sessions, users, policy, accounts.get))
    yield SignIn(users, sessions, api_tokens, tokens, hasher, codec, two_factor, throttle)


def throttle_of(settings: Settings, database: Database, keys: Keyring) -> Throttle:
    """The throttle of all processes that use ``database``."""
    counters = ThrottleRepository(database)
    return Throttle(counters, keys.signer("throttles"), registrations=settings.registrations_per_address)
