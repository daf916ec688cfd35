"""Settings are checked at the start, and each error names its variable and never its value."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydantic import SecretStr

from taskapi.core.env_file import HANDED_DOWN, hand_down
from taskapi.core.errors import StartupError
from taskapi.core.settings import OWN_PATH, PREFIX, Settings, load_settings
from taskapi.core.startup_warnings import find_warnings
from taskapi.main import create_app

GOOD_SECRET = "0123456789abcdef0123456789abcdef"


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No .env of the developer's is read."""
    monkeypatch.chdir(tmp_path)


def test_defaults_need_nothing() -> None:
    settings = load_settings()
    assert (settings.mongodb_uri, settings.mongodb_database, settings.data_dir) == (None, "taskapi", Path(".taskapi"))
    assert settings.cors_origins == ("http://localhost:3000",)
    assert (settings.access_token_minutes, settings.max_body_bytes, settings.docs) == (30, 1_048_576, True)


def test_the_environment_and_the_env_file_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("TASKAPI_LOG_LEVEL=DEBUG\nTASKAPI_CORS_ORIGINS=https://a.example, https://b.example\n")
    monkeypatch.setenv("TASKAPI_ACCESS_TOKEN_MINUTES", "5")
    monkeypatch.setenv("TASKAPI_MONGODB_URI", "")
    settings = load_settings()
    assert (settings.log_level, settings.access_token_minutes, settings.mongodb_uri) == ("debug", 5, None)
    assert settings.cors_origins == ("https://a.example", "https://b.example")


def test_settings_handed_down_replace_the_env_file(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"TASKAPI_LOG_LEVEL": "error", "taskapi_trash_days": "7", "TASKAPI_DOCS": "", HANDED_DOWN: "1"}  # as by version 1.4
    monkeypatch.setattr(os, "environ", os.environ | given)
    Path(".env").write_text("TASKAPI_LOG_LEVEL=debug\nTASKAPI_TRASH_DAYS=8\ntaskapi_docs=false\nTASKAPI_APP_URL=\nOTHER=x\n")
    before = load_settings()
    hand_down(PREFIX)
    Path(".env").write_text("nonsense")
    assert (load_settings(), "OTHER" in os.environ) == (before, False)
    assert (before.log_level, before.trash_days, before.docs) == ("error", 7, False)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("TASKAPI_MONGODB_URI", "localhost:27017"),
        ("TASKAPI_MONGODB_DATABASE", "a.b"),
        ("TASKAPI_MONGODB_DATABASE", "x" * 64),
        ("TASKAPI_MONGODB_DATABASE", "admin"),
        ("TASKAPI_MONGODB_DATABASE", "Local"),
        ("TASKAPI_DATA_DIR", "~/tasks"),
        ("TASKAPI_MONGODB_TIMEOUT_MS", "soon"),
        ("TASKAPI_MONGODB_POOL_SIZE", "2"),
        ("TASKAPI_SECRET_KEY", "short"),
        ("TASKAPI_SECRET_KEY", "changeme" * 8),
        ("TASKAPI_SECRET_KEY", "a" * 64),
        ("TASKAPI_SECRET_KEY", "your-secret-key-goes-here-please-ok"),
        ("TASKAPI_ACCESS_TOKEN_MINUTES", "0"),
        ("TASKAPI_LOG_FORMAT", "xml"),
        ("TASKAPI_CORS_ORIGINS", "localhost:3000"),
        ("TASKAPI_CORS_ORIGINS", "https://a.example/path"),
        ("TASKAPI_TRUSTED_PROXIES", "nonsense"),
        ("TASKAPI_TRUSTED_PROXIES", "10.0.0.1/8"),
        ("TASKAPI_DNS_SERVERS", "nonsense"),
        ("TASKAPI_DNS_SERVERS", "dns.example.com"),
        ("TASKAPI_DNS_SERVERS", "10.0.0.53:0x35"),
        ("TASKAPI_DNS_SERVERS", "10.0.0.53:65536"),
        ("TASKAPI_DNS_SERVERS", "10.0.0.53/x"),
        ("TASKAPI_DNS_SERVERS", "me@10.0.0.53"),
        ("TASKAPI_DNS_SERVERS", "fe80::g"),
        ("TASKAPI_DOCS", "perhaps"),
        ("TASKAPI_ROOT_PATH", "api"),
        ("TASKAPI_ROOT_PATH", "https://example.com/api"),
        ("TASKAPI_ROOT_PATH", "/api//v1"),
        ("TASKAPI_ROOT_PATH", "/../api"),
        ("TASKAPI_ROOT_PATH", "/api?x"),
        ("TASKAPI_ROOT_PATH", "/tasks"),
        ("TASKAPI_KEEP_ALIVE_SECONDS", "0"),
        ("TASKAPI_MAX_BODY_BYTES", "-1"),
        ("TASKAPI_SMTP_PORT", "70000"),
        ("TASKAPI_SMTP_SECURITY", "perhaps"),
        ("TASKAPI_MAIL_FROM", "nobody"),
        ("TASKAPI_MAIL_FROM", "Tasks <tasks@example.com>, eve@example.com"),
        ("TASKAPI_MAIL_FROM", "Tasks\r\nBcc: eve@example.com <tasks@example.com>"),
        ("TASKAPI_APP_URL", "www.example.com"),
        ("TASKAPI_APP_URL", "javascript:alert(1)"),
        ("TASKAPI_APP_URL", 'https://tasks.example.com/"><b>'),
        ("TASKAPI_APP_URL", "https://tasks.example.com/#page"),
    ],
)
def test_a_wrong_value_is_named_and_not_shown(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(StartupError) as caught:
        load_settings()
    assert str(caught.value).startswith(f"{variable}: ")
    assert "\n" not in str(caught.value)
    assert value not in str(caught.value)


def test_several_wrong_values_are_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKAPI_DOCS", "x")
    monkeypatch.setenv("TASKAPI_LOG_LEVEL", "x")
    with pytest.raises(StartupError) as caught:
        load_settings()
    assert {line.partition(":")[0] for line in str(caught.value).splitlines()} == {"TASKAPI_DOCS", "TASKAPI_LOG_LEVEL"}


def test_a_database_of_ones_own_needs_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKAPI_MONGODB_URI", "mongodb://db.example")
    with pytest.raises(StartupError, match=r"^TASKAPI_SECRET_KEY must be set"):
        load_settings()
    monkeypatch.setenv("TASKAPI_SECRET_KEY", GOOD_SECRET)
    assert load_settings().secret_key is not None


def test_mail_settings_go_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKAPI_SMTP_HOST", "mail.example.com")
    with pytest.raises(StartupError, match=r"^TASKAPI_MAIL_FROM must be set"):
        load_settings()
    monkeypatch.setenv("TASKAPI_MAIL_FROM", "Tasks <tasks@example.com>")
    monkeypatch.setenv("TASKAPI_APP_URL", "https://tasks.example.com/app/")
    assert load_settings().app_url == "https://tasks.example.com/app"
    monkeypatch.setenv("TASKAPI_SMTP_PASSWORD", "hunter2-hunter2")
    with pytest.raises(StartupError, match=r"^TASKAPI_SMTP_USERNAME and TASKAPI_SMTP_PASSWORD go together$"):
        load_settings()
    monkeypatch.setenv("TASKAPI_SMTP_USERNAME", "mailer")
    assert "hunter2" not in repr(load_settings())


def test_secrets_do_not_show_when_settings_are_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKAPI_MONGODB_URI", "mongodb://me:hunter2@db.example")
    monkeypatch.setenv("TASKAPI_SECRET_KEY", GOOD_SECRET)
    shown = repr(load_settings())
    assert "hunter2" not in shown
    assert GOOD_SECRET not in shown


def warnings(environment: dict[str, str] | None = None) -> list[str]:
    return find_warnings(load_settings(), environment or {})


def test_misspelt_variable_is_reported_with_nearest_setting() -> None:
    assert warnings({"TASKAPI_SECERT_KEY": "x", "TASKAPI_DOCS": "1", "HOME": "/", "taskapi_doks": "0"}) == [
        "TASKAPI_SECERT_KEY is not a setting; did you mean TASKAPI_SECRET_KEY?",
        "taskapi_doks is not a setting; did you mean TASKAPI_DOCS?",
    ]
    assert warnings({"TASKAPI_QQQQQQ": "x"}) == ["TASKAPI_QQQQQQ is not a setting"]


ENV_LINES = (
    "# settings\r\n  \n\nexport TASKAPI_DOCS = false\nTASKAPI_LOGLEVEL=debug\n"
    "MONGO_PASSWORD=x\n'TASKAPI_EVENT_DAYS'=90\ntaskapi_session_days=7\n"
)


def test_env_file_line_without_effect_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    Path(".env").write_text(ENV_LINES)
    assert warnings() == [".env, line 5: TASKAPI_LOGLEVEL is not a setting; did you mean TASKAPI_LOG_LEVEL?"]
    settings = load_settings()
    assert (settings.docs, settings.log_level, settings.event_days, settings.session_days) == (False, "info", 90, 7)
    assert caplog.text == ""  # once is enough


@pytest.mark.parametrize("line", ["TASKAPI_LOG_LEVEL: debug", "TASKAPI_TRASH_DAYS\r", "set TASKAPI_TRASH_DAYS=3", "=3"])
def test_env_file_line_without_assignment_is_refused(line: str) -> None:
    Path(".env").write_text(f"{ENV_LINES}{line}\nTASKAPI_DOCS=false\n")
    with pytest.raises(StartupError, match=r"^\.env, line 9: not a setting of the form NAME=value; [^\n]*$"):
        load_settings()


def test_env_file_with_byte_order_mark_is_read() -> None:
    Path(".env").write_bytes(b"\xef\xbb\xbfTASKAPI_DOCS=false\r\n")
    assert load_settings().docs is False
    assert warnings() == []


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"TASKAPI_DOCS=false\n# caf\xe9\n", ".env is not UTF-8 (line 2); save it as UTF-8"),
        ("TASKAPI_DOCS=false\n".encode("utf-16"), ".env is not UTF-8 (line 1); save it as UTF-8"),
        ("TASKAPI_DOCS=false\n".encode("utf-16-le"), ".env is not UTF-8 text: it has NUL characters"),
        (b"TASKAPI_DATA_DIR=a\0b\n", ".env is not UTF-8 text: it has NUL characters"),
    ],
)
def test_non_utf8_env_file_fails_with_one_line(content: bytes, says: str) -> None:
    Path(".env").write_bytes(content)
    with pytest.raises(StartupError) as caught:
        load_settings()
    assert str(caught.value).startswith(says)
    assert "\n" not in str(caught.value)


def test_piped_env_file_is_read_once_and_checked() -> None:
    os.mkfifo(".env")
    with ThreadPoolExecutor(1) as threads:
        for content, docs in ((b"TASKAPI_DOCS=false\n", False), (b"TASKAPI_DOCS=\xff\n", None)):
            writing = threads.submit(Path(".env").write_bytes, content)
            if docs is None:
                with pytest.raises(StartupError, match=r"^\.env is not UTF-8 \(line 1\)"):
                    load_settings()
            else:
                assert load_settings().docs is docs
            writing.result(10)


def test_unreadable_env_file_fails_with_one_line() -> None:
    Path(".env").symlink_to("/proc/self/mem")  # not even by root
    with pytest.raises(StartupError, match=r"^\.env cannot be read: Input/output error$"):
        load_settings()


def test_a_folder_of_that_name_is_refused() -> None:
    Path(".env").mkdir()  # as "python -m venv .env" makes one
    with pytest.raises(StartupError, match=r"^\.env is a folder, not a file; rename it"):
        load_settings()


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
@pytest.mark.parametrize("name", sorted(n for n, field in Settings.model_fields.items() if field.annotation is float))
def test_a_number_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"TASKAPI_{name.upper()}", value)
    with pytest.raises(StartupError, match=rf"^TASKAPI_{name.upper()}: Input should be a finite number$"):
        load_settings()


@pytest.mark.parametrize(
    ("uri", "database", "named"),
    [
        ("mongodb://db.example", None, None),
        ("mongodb://db.example/taskapi?replicaSet=x", None, None),
        ("mongodb://me:secret1@db.example/admin", None, None),  # says where to sign in, as it always did
        ("mongodb://me:secret1@a:1,b:2/shop?authSource=admin", None, "'shop'"),
        ("mongodb+srv://db.example/shop", None, "'shop'"),
        ("mongodb://db.example/my%20shop", "tasks", "'my shop'"),
        ("mongodb://db.example/shop", "shop", None),
        ("mongodb://me:not/secret1?encoded@db.example/taskapi", None, None),
    ],
)
def test_unused_database_in_the_uri_is_reported(
    monkeypatch: pytest.MonkeyPatch, uri: str, database: str | None, named: str | None
) -> None:
    monkeypatch.setenv("TASKAPI_MONGODB_URI", uri)
    monkeypatch.setenv("TASKAPI_SECRET_KEY", GOOD_SECRET)
    monkeypatch.setenv("TASKAPI_MONGODB_DATABASE", database or "")
    said = warnings()
    assert load_settings().mongodb_database == (database or "taskapi")  # where the data of 1.2 is
    assert len(said) == (named is not None)
    if named:
        assert f"names the database {named}, which is ignored: the data is in '{database or 'taskapi'}'" in said[0]
        assert "secret1" not in said[0]


def test_name_servers_have_addresses_and_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKAPI_DNS_SERVERS", "10.0.0.53, 10.0.0.54:5353,fd00::53,[fd00::53],[FD00::0:53]:5353,")
    servers = [("10.0.0.53", 53), ("10.0.0.54", 5353), ("fd00::53", 53), ("fd00::53", 53), ("fd00::53", 5353)]
    assert load_settings().dns_servers == tuple(servers)
    monkeypatch.delenv("TASKAPI_DNS_SERVERS")
    assert load_settings().dns_servers == ()


def test_a_root_path_loses_its_last_slash(monkeypatch: pytest.MonkeyPatch) -> None:
    for given, kept in (("/", ""), ("/api/", "/api"), ("/v1/tasks-api", "/v1/tasks-api")):
        monkeypatch.setenv("TASKAPI_ROOT_PATH", given)
        assert load_settings().root_path == kept


def test_own_path_pattern_matches_every_api_route() -> None:
    app = create_app(Settings(_env_file=None, mongodb_uri=SecretStr("mongodb://localhost"), secret_key=SecretStr(GOOD_SECRET)))
    paths = [route.path for route in app.routes]  # type: ignore[attr-defined]
    assert [path for path in paths if not OWN_PATH.fullmatch(path)] == ["/"]


def test_example_file_and_docs_name_every_setting() -> None:
    root = Path(__file__).parents[2]
    example, page = (root / ".env.example").read_text(), (root / "docs/configuration.md").read_text()
    for name in Settings.model_fields:
        variable = f"TASKAPI_{name.upper()}"
        assert f"{variable}=" in example
        assert f"`{variable}`" in page
