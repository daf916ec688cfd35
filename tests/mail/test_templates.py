"""Mails say what they should, in text and in HTML, and nothing that is put into them becomes markup or a header."""

from email.policy import SMTPUTF8
from email.utils import parsedate_to_datetime

import pytest

from taskapi.core.clock import utc_now
from taskapi.mail.templates import Template, write
from tests.mailbox import text_of

SENDER = "Tasks <tasks@example.com>"
TEMPLATE = Template("A subject", ("Hello {name},", "{link}", "x " * 60 + "{name}"))
VALUES = {"name": "ada", "link": "https://tasks.example.com/" + "x" * 100}


def test_a_mail_has_its_headers_and_both_bodies() -> None:
    mail = write(TEMPLATE, SENDER, "ada@example.com", VALUES)
    assert (mail["From"], mail["To"], mail["Subject"]) == (SENDER, "ada@example.com", "A subject")
    assert abs(parsedate_to_datetime(mail["Date"]) - utc_now()).total_seconds() < 60
    assert mail["Message-ID"].endswith("@example.com>")
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail.get_content_type() == "multipart/alternative"
    text, page = text_of(mail), text_of(mail, "html")
    assert text.startswith(f"Hello ada,\n\n{VALUES['link']}\n\nx x")
    assert max(len(line) for line in text.splitlines() if "https:" not in line) <= 72
    assert f'<p><a href="{VALUES["link"]}">{VALUES["link"]}</a></p>' in page


def test_no_two_mails_have_one_id() -> None:
    assert len({write(TEMPLATE, SENDER, "ada@example.com", VALUES)["Message-ID"] for _ in range(100)}) == 100


def test_values_are_no_markup_and_no_template() -> None:
    hostile = {"name": '<script>alert("x")</script>{link}&', "link": "https://a.example/'\"><b>"}
    mail = write(TEMPLATE, SENDER, "ada@example.com", hostile)
    page = text_of(mail, "html")
    assert "<script>" not in page
    assert "&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt;{link}&amp;" in page
    assert "<b>" not in page
    assert "Hello <script>" in text_of(mail)


@pytest.mark.parametrize(
    "recipient",
    [
        "ada@example.com\r\nBcc: eve@example.com",
        "ada@example.com\nX: y",
        "ada@example.com, eve@example.com",
        "Ada <ada@example.com>",
        "ada",
        "",
    ],
)
def test_what_is_no_address_gets_no_mail(recipient: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        write(TEMPLATE, SENDER, recipient, VALUES)


def test_line_break_in_sender_adds_no_header() -> None:
    mail = write(TEMPLATE, "Tasks\r\nBcc: eve@example.com <tasks@example.com>", "ada@example.com", VALUES)
    assert mail["Bcc"] is None
    assert b"\nBcc" not in mail.as_bytes()


@pytest.mark.parametrize(
    ("recipient", "expected"),
    [("ada@bücher.example", "ada@xn--bcher-kva.example"), ("müller@bücher.example", "müller@bücher.example")],
)
def test_addresses_in_other_scripts(recipient: str, expected: str) -> None:
    mail = write(TEMPLATE, '"Bücher, gut" <tasks@example.com>', recipient, VALUES)
    assert mail["To"].addresses[0].addr_spec == expected
    assert mail["From"].addresses[0].display_name == "Bücher, gut"
    assert expected.encode() in mail.as_bytes(policy=SMTPUTF8)
