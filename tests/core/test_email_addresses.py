"""Forms of e-mail addresses, also of those that no server of the Internet serves."""

import pytest

from taskapi.core.email_addresses import is_local, normalize, to_ascii


@pytest.mark.parametrize(
    ("address", "normal", "in_ascii"),
    [
        ("Ada@Example.COM", "Ada@example.com", "Ada@example.com"),
        ("ada@bücher.example", "ada@bücher.example", "ada@xn--bcher-kva.example"),
        ("Ada@Mail.LOCAL", "Ada@mail.local", "Ada@mail.local"),
        ("ada@localhost", "ada@localhost", "ada@localhost"),
        ("ada@TEST", "ada@test", "ada@test"),
        ("ada@bu\u0308cher.test", "ada@bücher.test", "ada@xn--bcher-kva.test"),
        ("ada@a.localhost", "ada@a.localhost", "ada@a.localhost"),
        ("ada@my.example.test", "ada@my.example.test", "ada@my.example.test"),
    ],
)
def test_an_address_has_one_form(address: str, normal: str, in_ascii: str) -> None:
    assert (normalize(address), to_ascii(address)) == (normal, in_ascii)
    assert normalize(normal) == normal


@pytest.mark.parametrize(
    "address",
    ["", "@", "test", "ada@", "@localhost", "ada@.local", "ada@-a.test", "ada@a..test", "ada@mail.local.", "a b@mail.test",
     "Ada <ada@mail.test>", "ada@mail.test\n", "ada@[127.0.0.1]", "ada@mail.invalid", "ada@mail.onion", "ada@mail",
     "ada@mail_server.local", f"ada@{'x' * 64}.test", "ada@x@mail.test"],
)  # fmt: skip
def test_what_is_no_address_is_refused(address: str) -> None:
    for form in (normalize, to_ascii):
        with pytest.raises(ValueError):  # noqa: PT011 - the messages are the library's
            form(address)


@pytest.mark.parametrize("domain", ["test", "local", "localhost"])
def test_local_domains_are_known_at_the_end_alone(domain: str) -> None:
    assert is_local(f"ada@{domain}")
    assert is_local(f"ada@mail.{domain.upper()}")
    assert not is_local(f"ada@{domain}.example.com")
    assert not is_local(f"{domain}@example.com")
    assert not is_local(f"ada@my{domain}")
