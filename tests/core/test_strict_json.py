"""What is JSON, and what only Python would take for it."""

import json

import pytest

from taskapi.core.errors import MalformedJSON
from taskapi.core.strict_json import MAX_DEPTH, read_json

TOO_DEEP = "The body is nested too deeply."


def nested(levels: int, opening: str, closing: str) -> bytes:
    return (opening * levels + "1" + closing * levels).encode()


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}"), ('[{"a":', "}]")])
def test_depth_has_a_limit(opening: str, closing: str) -> None:
    levels = MAX_DEPTH // opening.replace("{", "[").count("[")
    allowed = nested(levels, opening, closing)
    assert read_json(allowed) == json.loads(allowed)
    for more in (1, 100, 100_000):
        with pytest.raises(MalformedJSON, match=TOO_DEEP):
            read_json(nested(levels + more, opening, closing))


def test_depth_is_found_among_shallow_neighbours() -> None:
    wide = ",".join(["[]", '{"a": []}'] * 50)
    assert len(read_json(f"[{wide}]".encode())) == 100
    deep = nested(MAX_DEPTH, "[", "]").decode()
    with pytest.raises(MalformedJSON, match=TOO_DEEP):
        read_json(f"[{wide},{deep},{wide}]".encode())


def test_brackets_in_strings_are_no_depth() -> None:
    assert read_json(json.dumps(["[" * 500 + "{" * 500]).encode()) == ["[" * 500 + "{" * 500]


def test_byte_order_mark_before_the_value_is_ignored() -> None:
    assert read_json(b'\xef\xbb\xbf {"a": "\xef\xbb\xbf"}') == {"a": "\ufeff"}


@pytest.mark.parametrize("text", [b"", b" \n", b"\xef\xbb\xbf"])
def test_what_is_empty_is_called_so(text: bytes) -> None:
    with pytest.raises(MalformedJSON, match=r"^The body is empty\.$"):
        read_json(text)


@pytest.mark.parametrize("number", ["1e400", "-1e400", "1e309", "0." + "0" * 10 + "1e999", "9" * 5000])
def test_a_number_that_is_too_large_is_refused(number: str) -> None:
    with pytest.raises(MalformedJSON, match="The body contains a number that is too large"):
        read_json(f'{{"a": [{number}]}}'.encode())


@pytest.mark.parametrize(
    ("number", "value"), [("1e308", 1e308), ("1e-400", 0.0), ("-0.0", -0.0), ("9007199254740993", 2**53 + 1)]
)
def test_a_number_that_is_finite_is_kept(number: str, value: float) -> None:
    assert repr(read_json(number.encode())) == repr(value)


@pytest.mark.parametrize(
    "text", ['{"a": 1, "a": 1}', '{"a": 1, "\\u0061": 2}', '[[{"b": {"a": 1, "b": 2, "a": {}}}]]', '{"": 1, "": 1}']
)
def test_a_member_named_twice_is_refused(text: str) -> None:
    with pytest.raises(MalformedJSON, match="The body names a member twice in one object"):
        read_json(text.encode())


def test_a_name_may_be_used_by_several_objects() -> None:
    assert read_json(b'{"a": {"a": [{"a": 1}, {"a": 2}]}}') == {"a": {"a": [{"a": 1}, {"a": 2}]}}


@pytest.mark.parametrize(
    "text",
    [
        b"{",
        b"secret",
        b'{"a": NaN}',
        b"-Infinity",
        b"\xff",
        b"\xef\xbb\xbf\xef\xbb\xbf{}",
        b" \xef\xbb\xbf{}",
        "{}".encode("utf-16"),
        b"1 2",
    ],
)
def test_error_names_the_text_without_repeating_it(text: bytes) -> None:
    with pytest.raises(MalformedJSON, match=r"Line 7 is not valid JSON.*\.$") as caught:
        read_json(text, "Line 7")
    assert "secret" not in caught.value.detail
