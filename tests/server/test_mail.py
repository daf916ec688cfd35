"""Two workers and an SMTP server: each mail is sent once, and its token is good at either worker."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.client import PASSWORD
from tests.mailbox import smtp_server, token_of
from tests.server.process import serving, wait_until

pytestmark = pytest.mark.real

NEW = "a staple of batteries"


def test_two_workers_send_once_and_both_accept_tokens(tmp_path: Path) -> None:
    names = [f"user{number}" for number in range(12)]
    with smtp_server() as inbox:
        mail: dict[str, Any] = {
            "SMTP_HOST": "127.0.0.1",
            "SMTP_PORT": str(inbox.port),
            "SMTP_SECURITY": "none",
            "MAIL_FROM": "t@example.com",
        }
        with serving(tmp_path / "data", "--workers", "2", **mail) as server, server.client() as client:

            def forget(name: str) -> None:
                body = {"username": name, "password": PASSWORD, "email": f"{name}@example.com"}
                assert client.post("/register", json=body).status_code == 201
                assert client.post("/password/forgot", json={"email": f"{name}@example.com"}).status_code == 202

            with ThreadPoolExecutor(6) as threads:
                list(threads.map(forget, names))
            wait_until(lambda: len(inbox.taken) >= 2 * len(names), "the mails")
            resets = [mail for mail in inbox.mails() if mail["Subject"] == "Reset your password"]
            tokens = {str(mail["To"]).partition("@")[0]: token_of(mail) for mail in resets}
            for name, token in tokens.items():
                assert client.post("/password/reset", json={"token": token, "password": NEW}).status_code == 204
                assert client.post("/token", data={"username": name, "password": NEW}).status_code == 200
            wait_until(lambda: len(inbox.taken) >= 3 * len(names), "the notices")
            assert Counter(str(mail["To"]) for mail in inbox.mails()) == {f"{name}@example.com": 3 for name in names}
            secrets = [*tokens.values(), PASSWORD, NEW, "@example.com"]
            assert not [secret for secret in secrets if secret in server.output]
