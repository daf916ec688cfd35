"""Settings are checked at the start, and each error names its variable and never its value."""

from pathlib import Path

import pytest

from taskapi.errors import StartupError
from taskapi.settings import Settings, load_settings, unknown_variables

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


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("TASKAPI_MONGODB_URI", "localhost:27017"),
        ("TASKAPI_MONGODB_DATABASE", "a.b"),
        ("TASKAPI_MONGODB_DATABASE", "x" * 64),
        ("TASKAPI_MONGODB_TIMEOUT_MS", "soon"),
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
        ("TASKAPI_DOCS", "perhaps"),
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


def test_a_misspelt_variable_is_noticed() -> None:
    assert unknown_variables({"TASKAPI_SECERT_KEY": "x", "TASKAPI_DOCS": "1", "HOME": "/"}) == ["TASKAPI_SECERT_KEY"]


def test_the_example_file_and_the_readme_name_every_setting() -> None:
    root = Path(__file__).parents[1]
    example, readme = (root / ".env.example").read_text(), (root / "README.md").read_text()
    for name in Settings.model_fields:
        variable = f"TASKAPI_{name.upper()}"
        assert f"{variable}=" in example
        assert f"`{variable}`" in readme
