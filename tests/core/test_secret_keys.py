"""Several secrets in one setting."""

import pytest

from taskapi.core.errors import StartupError
from taskapi.core.settings import load_settings
from tests.core.test_settings import GOOD_SECRET

OTHER_SECRET = "fedcba9876543210fedcba9876543210"


@pytest.mark.parametrize(
    ("text", "secrets"),
    [
        (f"{GOOD_SECRET}, {OTHER_SECRET},", (GOOD_SECRET, OTHER_SECRET)),
        (f'["{GOOD_SECRET}", "{OTHER_SECRET},x"]', (GOOD_SECRET, f"{OTHER_SECRET},x")),
        (f"[{GOOD_SECRET},{OTHER_SECRET}]", (f"[{GOOD_SECRET}", f"{OTHER_SECRET}]")),
    ],
)
def test_several_secrets_may_contain_commas(monkeypatch: pytest.MonkeyPatch, text: str, secrets: tuple[str, ...]) -> None:
    monkeypatch.setenv("TASKAPI_SECRET_KEYS", text)
    assert load_settings().secrets == secrets


@pytest.mark.parametrize("text", ['["{0}", "{1}"', '["{0}" "{1}"]', '[ "{0}", 5]', "[\"{0}\", '{1}']"])
def test_a_broken_array_of_secrets_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("TASKAPI_SECRET_KEYS", text.format(GOOD_SECRET, OTHER_SECRET))
    with pytest.raises(StartupError, match=r"^TASKAPI_SECRET_KEYS: begins like a JSON array of texts, but is none$"):
        load_settings()
