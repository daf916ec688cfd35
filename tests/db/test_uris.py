"""MongoDB URIs: what is wrong with one, and what of it is shown or given to others."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from taskapi.core.errors import StartupError
from taskapi.core.settings import Settings
from taskapi.db.connection import connect
from taskapi.db.uris import for_account, mask_secrets, require_valid


@pytest.mark.parametrize(
    ("uri", "other"),
    [
        ("mongodb://localhost", "mongodb://eve:pw@localhost/?authSource=taskapi"),
        ("mongodb://localhost/", "mongodb://eve:pw@localhost/?authSource=taskapi"),
        ("mongodb://a:b@localhost:1/taskapi", "mongodb://eve:pw@localhost:1/?authSource=taskapi"),
        ("mongodb://a:b%40c@h1:1,h2:2/?replicaSet=rs0", "mongodb://eve:pw@h1:1,h2:2/?replicaSet=rs0&authSource=taskapi"),
        (
            "mongodb://a:b@h?TLS=true&tlsCAFile=%2Fetc%2Fca.pem",
            "mongodb://eve:pw@h/?TLS=true&tlsCAFile=%2Fetc%2Fca.pem&authSource=taskapi",
        ),
        ("mongodb+srv://a:b@c.example/x?w=majority&authSource=admin", "mongodb+srv://eve:pw@c.example/?authSource=taskapi"),
        (
            "mongodb://%2Frun%2Fm.sock/?directConnection=true&authMechanism=MONGODB-X509&tlsCertificateKeyFilePassword=secret",
            "mongodb://eve:pw@%2Frun%2Fm.sock/?directConnection=true&authSource=taskapi",
        ),
    ],
)
def test_another_account_gets_what_concerns_the_server(uri: str, other: str) -> None:
    assert for_account(uri, "eve:pw", "taskapi") == other


def test_no_account_is_named_without_one() -> None:
    assert for_account("mongodb://a:b@h/?authSource=admin&tls=true", "", "taskapi") == "mongodb://h/?tls=true"


def test_hosts_can_be_replaced() -> None:
    uri = for_account("mongodb://%2Fm.sock/?directConnection=true", "eve:pw", "taskapi", hosts="127.0.0.1:27017")
    assert uri == "mongodb://eve:pw@127.0.0.1:27017/?directConnection=true&authSource=taskapi"


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("mongodb://a:SECRET@h/x", "mongodb://a:***@h/x"),
        ("mongodb://a:SE%40CRET@h1:1,h2:2/?replicaSet=rs0", "mongodb://a:***@h1:1,h2:2/?replicaSet=rs0"),
        ("mongodb://h:1/", "mongodb://h:1/"),
        ("mongodb://a@h:1,[::1]:2/x?tls=true", "mongodb://a@h:1,[::1]:2/x?tls=true"),
        ("mongodb://%2Frun%2Fm.sock/?directConnection=true", "mongodb://%2Frun%2Fm.sock/?directConnection=true"),
        (
            "mongodb://h/?tls=true&TLSCertificateKeyFilePASSWORD=SECRET&authSource=x",
            "mongodb://h/?tls=true&***&authSource=x",
        ),
        ("mongodb://h/?authMechanismProperties=A:x,AWS_SESSION_TOKEN:SECRET;ssl=true", "mongodb://h/?***;ssl=true"),
        ("mongodb+srv://a:SECRET@h?proxyPassword=SECRET&w=majority", "mongodb+srv://a:***@h?***&***"),
        # What the driver refuses, or reads in another way than it is meant:
        ("mongodb://a:SE@CRET@h", "mongodb://a:***@h"),
        ("mongodb://a:SE/CRET@h/?tls=true", "mongodb://a:***@h/?tls=true"),
        ("mongodb://a:SE:CRET@h", "mongodb://a:***@h"),
        ("mongodb://a/b:SECRET@h", "mongodb://a/b:***@h"),
        ("mongodb://a@b:SECRET@h", "mongodb://a@b:***@h"),
        ("mongodb://a:SEC\nRET@h", "mongodb://a:***@h"),
        ("mongodb://:SECRET@h", "mongodb://:***@h"),
        ("mongodb://a:SEC?RET@h/?tls=true", "mongodb://a***"),
        ("mongodb://a:SEC?tls=RET@h", "mongodb://a***"),
        ("mongodb://a:SE@C?RET@h", "mongodb://a***"),
        ("mongodb://a:SECRET@h/?tlsCertificateKeyFilePassword=SE@CRET&tls=true", "mongodb://a***"),
        ("mongodb://h/?tlsCertificateKeyFilePassword=SE&CR=ET&tls=true", "mongodb://h/?***&***&tls=true"),
        ("mongodb://h/?tlsCertificateKeyFilePassword=SEC?RET=#&tls", "mongodb://h/?***&tls"),
        ("mongodb://h/?%74lsCertificateKeyFilePassword=SECRET", "mongodb://h/?***"),
        ("mongodb://h/?tls=true%26tlsCertificateKeyFilePassword%3DSECRET", "mongodb://h/?***"),
        ("mongodb://h/?tls=true=SECRET&&=SECRET", "mongodb://h/?***&&***"),
    ],
)
def test_a_shown_uri_has_no_secrets(uri: str, shown: str) -> None:
    assert mask_secrets(uri) == shown


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("tlsCAFile={folder}/missing", "{folder}/missing cannot be used: No such file or directory"),
        ("tls=true&tlsCertificateKeyFile={folder}", "{folder} cannot be used: Is a directory"),
        ("tls=true&tlsCAFile={folder}/empty", "a file with certificates cannot be used: "),
        ("zlibCompressionLevel=much", "zlibcompressionlevel must be an integer"),
    ],
)
def test_unusable_option_is_named_in_one_line(tmp_path: Path, options: str, says: str) -> None:
    (tmp_path / "empty").write_text("")
    uri = "mongodb://localhost:1/?" + options.format(folder=tmp_path)
    settings = Settings(mongodb_uri=SecretStr(uri), secret_key=SecretStr("0123456789abcdef" * 2), _env_file=None)
    for refuses in (connect, require_valid):
        with pytest.raises(StartupError) as caught:
            refuses(settings)
        assert str(caught.value).startswith("TASKAPI_MONGODB_URI: " + says.format(folder=tmp_path))
        assert "\n" not in str(caught.value)


def test_names_are_not_looked_up_before_the_start() -> None:
    uri = SecretStr("mongodb+srv://a:b@nowhere.invalid/?w=majority")
    require_valid(Settings(mongodb_uri=uri, secret_key=SecretStr("0123456789abcdef" * 2), _env_file=None))
