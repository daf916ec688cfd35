"""Mails as plain text and HTML, from one template."""

import html
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid, parseaddr

from taskapi.core import email_addresses
from taskapi.core.clock import utc_now

LINE_CHARACTERS = 72
PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>{title}</title></head>
<body>
{body}
</body>
</html>
"""


@dataclass(frozen=True, slots=True)
class Template:
    """A subject, and paragraphs with ``{name}`` placeholders. A paragraph that is an http(s) URL becomes a link."""

    subject: str
    paragraphs: tuple[str, ...]

    def text(self, values: Mapping[str, str]) -> str:
        """The paragraphs as plain text, wrapped without breaking words."""
        lines = (
            textwrap.fill(part.format(**values), LINE_CHARACTERS, break_long_words=False, break_on_hyphens=False)
            for part in self.paragraphs
        )
        return "\n\n".join(lines) + "\n"

    def html(self, values: Mapping[str, str]) -> str:
        """The paragraphs as an HTML page, with every value escaped."""
        escaped = {name: html.escape(value) for name, value in values.items()}
        body = "\n".join(f"<p>{_link(part.format(**escaped))}</p>" for part in self.paragraphs)
        return PAGE.format(title=html.escape(self.subject), body=body)


def write(template: Template, sender: str, recipient: str, values: Mapping[str, str]) -> EmailMessage:
    """The mail from ``sender`` (an e-mail address, with or without a name) to the e-mail address ``recipient``.

    Raises:
        ValueError: one of them is not an e-mail address.
    """
    name, sender_email = parseaddr(sender)
    message = EmailMessage()
    message["From"] = Address(name, *sender_email.rsplit("@", 1))
    message["To"] = Address("", *email_addresses.to_ascii(recipient).rsplit("@", 1))  # its addr_spec= accepts only ASCII
    message["Subject"] = template.subject
    message["Date"] = format_datetime(utc_now())
    message["Message-ID"] = make_msgid(domain=sender_email.rpartition("@")[2])
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: prevents automatic replies
    message.set_content(template.text(values))
    message.add_alternative(template.html(values), subtype="html")
    return message


def _link(text: str) -> str:
    return f'<a href="{text}">{text}</a>' if text.startswith(("https://", "http://")) else text
