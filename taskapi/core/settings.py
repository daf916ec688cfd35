"""Settings: typed, read once from the environment and ``.env``, frozen, passed in."""

import logging
import re
from contextlib import suppress
from email.utils import parseaddr
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, TypeAdapter, ValidationError, field_validator, model_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import NoDecode, SettingsConfigDict

from taskapi.core.env_file import ENCODING, ENV_FILE, EnvFileSettings, env_file, not_utf8, read_env_file
from taskapi.core.errors import StartupError
from taskapi.core.setting_values import check_secret, parse_name_server

PREFIX = "TASKAPI_"
ORIGIN = re.compile(r"https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?|https?://\[[0-9A-Fa-f:.]+\](:[0-9]{1,5})?")
MAILBOX = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9.-]+")
PAGE = re.compile(r"https?://[A-Za-z0-9.:\[\]-]+(/[A-Za-z0-9._~!$&'()*+,;=:@%/-]*)?")
ROOT_PATH = re.compile(r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*")
# The API's own paths: with such a root path, it would be unclear whether a proxy has stripped it.
OWN_PATH = re.compile(
    r"/(asyncapi\.json|docs|email|events|health|live|logout|openapi\.json|password|ready|redoc|register|revoke|stats|tasks|token|"
    r"trash|users|webhooks)(/.*)?"
)
MONGODBS_OWN = ("admin", "config", "local")

CommaSeparated = Annotated[tuple[str, ...], NoDecode]
JSON_ARRAY = TypeAdapter(tuple[SecretStr, ...])


class Settings(EnvFileSettings):
    """Every setting of the service. The variable is the upper-cased name after ``TASKAPI_``."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=ENV_FILE,
        env_file_encoding=ENCODING,
        env_ignore_empty=True,
        extra="ignore",
        allow_inf_nan=False,
        frozen=True,
        hide_input_in_errors=True,
    )

    mongodb_uri: SecretStr | None = Field(None, description="The MongoDB to use; if empty, an embedded one is started.")
    mongodb_database: str = Field("taskapi", pattern=r"^[A-Za-z0-9_-]{1,38}$", description="Name of the database.")
    mongodb_selection_timeout_ms: int = Field(3000, ge=100, le=60_000, description="Maximum wait for a usable server.")
    mongodb_timeout_ms: int = Field(
        5000, ge=100, le=600_000, description="Maximum time for one operation as a whole; also sent to the server as maxTimeMS."
    )
    query_timeout_ms: int = Field(2000, ge=1, le=60_000, description="Maximum time for one list of tasks; MongoDB enforces it.")
    mongodb_pool_size: int = Field(50, ge=3, le=1000, description="Maximum number of connections to each server, per worker.")

    migrate: Literal["check", "auto"] = Field(
        "check", description="On a database of an earlier version: refuse to start, or migrate it first."
    )

    data_dir: Path = Field(Path(".taskapi"), description="Folder of the embedded MongoDB and the generated secret.")
    mongod: Path | None = Field(None, description="The mongod program for the embedded MongoDB.")
    mongod_port: int | None = Field(
        None,
        ge=1,
        le=65_535,
        description="Port of 127.0.0.1 on which the embedded MongoDB also listens; empty: none.",
    )
    mongod_auth: bool | None = Field(
        None, description="The embedded MongoDB requires a sign-in; empty: if its data folder is new, or already did."
    )
    mongod_cache_gb: float = Field(1.0, ge=0.25, le=1024, description="Cache of the embedded MongoDB, in GiB.")

    secret_key: SecretStr | None = Field(None, description="Signs tokens; at least 32 bytes.")
    secret_keys: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        (), description="Several instead of secret_key, comma-separated or a JSON array: the first signs, all verify."
    )
    access_token_minutes: int = Field(30, ge=1, le=24 * 60, description="Lifetime of an access token, in minutes.")
    refresh_token_days: int = Field(30, ge=1, le=365, description="Lifetime of a session that is not refreshed, in days.")
    session_days: int = Field(90, ge=1, le=3650, description="Maximum lifetime of a session, in days.")
    event_days: int = Field(180, ge=1, le=3650, description="How long security events are kept, in days.")
    leaving_days: int = Field(14, ge=1, le=365, description="Grace period in which signing in cancels a deletion, in days.")
    registrations_per_address: int = Field(
        30, ge=1, le=1_000_000, description="Accounts that one IP address may register before it has to wait between them."
    )
    requests_per_minute: int = Field(
        60_000, ge=0, le=10_000_000, description="Maximum number of requests per account, per worker; 0: no limit."
    )
    argon2_memory_kib: int = Field(19_456, ge=8, le=1_048_576, description="Memory for one password hash, in KiB.")
    argon2_rounds: int = Field(2, ge=1, le=64, description="Passes over that memory.")
    hash_workers: int = Field(2, ge=1, le=64, description="Password hashes computed in parallel, per worker.")
    hash_queue: int = Field(64, ge=1, le=10_000, description="How many hashes may wait; more are answered 503.")

    smtp_host: str | None = Field(None, description="The SMTP server that sends mails; if empty, they are written to a folder.")
    smtp_port: int = Field(587, ge=1, le=65_535, description="Its port.")
    smtp_security: Literal["starttls", "tls", "none"] = Field("starttls", description="Encryption of the connection to it.")
    smtp_username: str | None = Field(None, description="The user name, if the SMTP server requires one.")
    smtp_password: SecretStr | None = Field(None, description="The password for that user name.")
    mail_from: str = Field("taskapi <taskapi@localhost>", description="The sender of mails.")
    app_url: str | None = Field(None, description="The web application whose pages mails link to.")
    email_local_domains: bool = Field(False, description="Accept e-mail addresses that end in .test, .local or .localhost.")

    cors_origins: CommaSeparated = Field(("http://localhost:3000",), description="Web origins that may call, comma-separated.")
    trusted_proxies: CommaSeparated = Field(
        ("127.0.0.1",), description="Addresses or networks of proxies whose X-Forwarded-* headers are trusted."
    )
    max_body_bytes: int = Field(1_048_576, ge=1024, le=104_857_600, description="Maximum size of a request body.")
    max_import_bytes: int = Field(268_435_456, ge=1024, le=17_179_869_184, description="Maximum body size of an import.")
    require_if_match: bool = Field(False, description="Refuse PATCH, PUT and DELETE of a task without If-Match.")
    trash_days: int = Field(30, ge=1, le=3650, description="How long a deleted task can be restored, in days.")
    idempotency_lease_seconds: float = Field(
        10.0, ge=0.5, le=3600, description="How long an Idempotency-Key stays locked after its process was killed."
    )
    root_path: str = Field("", description="The path under which a proxy serves the API, such as /v1.")
    keep_alive_seconds: int = Field(75, ge=1, le=3600, description="How long an idle connection is kept open.")
    docs: bool = Field(True, description="Serve /docs, /redoc, /openapi.json, /asyncapi.json and the page /live.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="The lowest level that is logged.")
    log_format: Literal["console", "json"] = Field("console", description="The format of a log line.")

    dns_servers: Annotated[tuple[tuple[str, int], ...], NoDecode] = Field(
        (), description="Name servers for links and the SMTP host, comma-separated, instead of those in /etc/resolv.conf."
    )
    links_timeout_seconds: float = Field(5.0, gt=0, le=60, description="Maximum time to preview one link.")
    links_allow_private: bool = Field(False, description="Let links reach private addresses; for tests only.")
    webhooks_allow_private: bool = Field(False, description="Let webhooks reach private addresses, by http too; for tests only.")

    @field_validator("cors_origins", "trusted_proxies", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("secret_keys", mode="before")
    @classmethod
    def _split_secrets(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        with suppress(ValidationError):
            return JSON_ARRAY.validate_json(value)
        if re.match(r'\[\s*"', value):
            raise PydanticCustomError("secret_keys", "begins like a JSON array of texts, but is none")
        return tuple(SecretStr(part.strip()) for part in value.split(",") if part.strip())

    @field_validator("dns_servers", mode="before")
    @classmethod
    def _split_servers(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return tuple(parse_name_server(part.strip()) for part in value.split(",") if part.strip())

    @field_validator("log_level", "log_format", "migrate", "smtp_security", mode="before")
    @classmethod
    def _lower(cls, value: object) -> object:
        return value.lower() if isinstance(value, str) else value

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        if not all(value == "*" or ORIGIN.fullmatch(value) for value in values):
            raise PydanticCustomError("origin", "must be origins such as https://app.example.com, separated by commas")
        return values

    @field_validator("trusted_proxies")
    @classmethod
    def _are_networks(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        try:
            [ip_network(value) for value in values if value != "*"]
        except ValueError:
            raise PydanticCustomError(
                "network", "must be addresses or networks such as 10.0.0.0/8, separated by commas"
            ) from None
        return values

    @field_validator("mail_from")
    @classmethod
    def _is_mailbox(cls, value: str) -> str:
        address = parseaddr(value)[1]
        if not (value.isprintable() and MAILBOX.fullmatch(address) and (value == address or value.endswith(f"<{address}>"))):
            raise PydanticCustomError("mail_from", "must be an address, such as Tasks <tasks@example.com>")
        return value

    @field_validator("app_url")
    @classmethod
    def _is_page(cls, value: str | None) -> str | None:
        if value is not None and not PAGE.fullmatch(value):
            raise PydanticCustomError("app_url", "must be a URL such as https://tasks.example.com")
        return value.rstrip("/") if value else None

    @field_validator("root_path")
    @classmethod
    def _is_prefix(cls, value: str) -> str:
        value = value.rstrip("/")
        if not ROOT_PATH.fullmatch(value):
            raise PydanticCustomError("root_path", "must be a path with a slash before each part, such as /v1")
        if OWN_PATH.fullmatch(value):
            raise PydanticCustomError("root_path", "must not begin with a path of the API itself")
        return value

    @field_validator("mongodb_database")
    @classmethod
    def _is_own_database(cls, value: str) -> str:
        if value.lower() in MONGODBS_OWN:
            raise PydanticCustomError("mongodb_database", "must not be a database of MongoDB itself")
        return value

    @field_validator("data_dir")
    @classmethod
    def _is_written_out(cls, value: Path) -> Path:
        if str(value).startswith("~"):  # only a shell replaces it; here it would be a folder of that name
            raise PydanticCustomError("data_dir", "must be written out, without ~")
        return value

    @field_validator("mongodb_uri")
    @classmethod
    def _is_mongodb(cls, value: SecretStr | None) -> SecretStr | None:
        if value and not value.get_secret_value().startswith(("mongodb://", "mongodb+srv://")):
            raise PydanticCustomError("mongodb_uri", "must start with mongodb:// or mongodb+srv://")
        return value

    @field_validator("secret_key")
    @classmethod
    def _is_strong(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            check_secret(value.get_secret_value())
        return value

    @field_validator("secret_keys")
    @classmethod
    def _are_strong(cls, values: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        for value in values:
            check_secret(value.get_secret_value())
        return values

    @model_validator(mode="after")
    def _mail_is_complete(self) -> Self:
        if (self.smtp_username is None) != (self.smtp_password is None):
            raise PydanticCustomError("smtp_account", "TASKAPI_SMTP_USERNAME and TASKAPI_SMTP_PASSWORD go together")
        if self.smtp_host and "mail_from" not in self.model_fields_set:
            raise PydanticCustomError("mail_from_missing", "TASKAPI_MAIL_FROM must be set when TASKAPI_SMTP_HOST is")
        return self

    @model_validator(mode="after")
    def _secret_goes_with_uri(self) -> Self:
        if self.secret_key and self.secret_keys:
            raise PydanticCustomError("secret_key_twice", "set TASKAPI_SECRET_KEY or TASKAPI_SECRET_KEYS, not both")
        if self.mongodb_uri and not self.secrets:
            raise PydanticCustomError(
                "secret_key_missing",
                "TASKAPI_SECRET_KEY must be set when TASKAPI_MONGODB_URI is; make one with: openssl rand -hex 32",
            )
        return self

    @property
    def secrets(self) -> tuple[str, ...]:
        """The secrets that verify; the first one also signs."""
        given = self.secret_keys or ((self.secret_key,) if self.secret_key else ())
        return tuple(value.get_secret_value() for value in given)

    @property
    def hashing(self) -> dict[str, int]:
        """How passwords are hashed: the arguments of ``PasswordHasher``."""
        return {
            "memory_kib": self.argon2_memory_kib,
            "rounds": self.argon2_rounds,
            "workers": self.hash_workers,
            "queue": self.hash_queue,
        }


def load_settings() -> Settings:
    """Reads the settings.

    Raises:
        StartupError: one line for each wrong variable, naming it and never its value; or what is wrong with ``.env``.
    """
    read_env_file()
    logging.getLogger("dotenv.main").setLevel(logging.ERROR)  # lines it cannot read are among our own warnings
    try:
        return Settings(_env_file=env_file())
    except ValidationError as error:
        lines = []
        for fault in error.errors(include_input=False, include_url=False):
            name = "_".join(str(part) for part in fault["loc"][:1])
            message = fault["msg"].partition(", unable to ")[0]  # what follows says the same
            lines.append(f"{PREFIX}{name.upper()}: {message}" if name else message)
        raise StartupError("\n".join(lines)) from None
    except UnicodeDecodeError as error:
        raise not_utf8(error) from None
