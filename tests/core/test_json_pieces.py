"""Long JSON, read in pieces, is what it is read at once."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from taskapi.core import json_pieces, strict_json
from taskapi.core.errors import MalformedJSON
from taskapi.core.json_pieces import read
from taskapi.core.strict_json import MAX_DEPTH

# In the manner of JSONTestSuite: elements of an array, valid or not.
ELEMENTS = [
    "1", "-0", "-0.0", "1e5", "1E+2", "0.5", "9" * 30, "true", "null", '""', '"a"', r'"\u00e9\n\\\""',
    r'"\ud83d\ude00"', r'"\ud800"', '"[{]},"', '"é\U0001f600\u2028"', "[]", "{}", "[[]]", '{"a": 1}', '{"": {"": []}}',
    ' [ 1 , {"a" : [ ] } ] ', '{"a": {"a": 1}}', "01", "-", "+1", ".5", "1.", "1e", "0x1", "NaN", "-Infinity", "1e999",
    "9" * 5000, "nul", "tru e", "'a'", '"', '"a', '"\\', r'"\x"', r'"\u12"', '"\t"', '"\x00"', '"\\\n"', "[", "]", "{",
    "}", "[}", "{]", "[1}", "[1,]", "[,1]", "[,]", "[1 2]", "[1,,2]", '{"a"}', '{"a":}', '{"a":1,}', '{,"a":1}',
    "{1:1}", '{"a" 1}', '{"a":1 "b":2}', '{"a":1,"a":2}', r'{"a":1,"\u0061":2}', "", " ", ",", ",,", "1,", "\x0c",
    "\ufeff1", "/**/1", "1;", "[" * 30 + "]" * 30, "[" * 31 + "]" * 31, "[" * 32 + "]" * 32, "[" * 40,
    '{"a":' * 31 + "1" + "}" * 31, '[{"a":' * 16 + "1" + "}]" * 16,
]  # fmt: skip


TEMPLATES = [
    "[{}]",
    "[1,{}]",
    "[{},1]",
    "{}",
    '{"x": {}}',
    '{"x": {}, "y": 1}',
    '[[1, [{}, "z"]], 2]',
    '{"x": [{"y": {}}], "z": [1, 2]}',
    "[[[{}]]]",
]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def outcome(reading: Callable[[], Any]) -> str:
    try:
        return repr(reading())
    except ValueError:
        return "refused"  # of several faults another one may be met first


def at_once(text: str) -> Any:
    value = strict_json.DECODER.decode(text)
    if strict_json.is_deeper(value, MAX_DEPTH):
        raise strict_json.Refused("is nested too deeply")
    return value


def in_pieces(text: str, piece: int) -> Any:
    reading = read(text, piece)
    while True:
        try:
            next(reading)
        except StopIteration as end:
            return end.value


def assert_same(text: str) -> None:
    expected = outcome(lambda: at_once(text))
    for piece in (1, 3, 16, 64, 4096):
        assert outcome(lambda piece=piece: in_pieces(text, piece)) == expected, (text, piece)  # type: ignore[misc]


@pytest.mark.parametrize("template", TEMPLATES)
def test_what_is_json_and_what_is_none(template: str) -> None:
    for element in ELEMENTS:
        assert_same(template.replace("{}", element, 1))


@given(VALUES, st.sampled_from([None, 1]), st.data())
@settings(max_examples=200, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_whole_and_damaged_values_read_as_at_once(value: Any, indent: int | None, data: st.DataObject) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=data.draw(st.booleans()))
    assert_same(text)
    at = data.draw(st.integers(0, len(text)))
    assert_same(
        text[:at] + data.draw(st.sampled_from(["", ",", "]", "}", "[", "{", '"', ":", "\\", "1", " ", "x"])) + text[at + 1 :]
    )


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        (b"[%b" % (b"1," * 20_000), "The line is not valid JSON: Expecting value at character 40001."),
        (b"[%b1 2]" % (b"1," * 20_000), "The line is not valid JSON: Expecting ',' delimiter at character 40003."),
        (b"[%b]" % (b"[" * 40_000), "The line is nested too deeply."),
        (b'{%b"a":1,"a":2}' % b"".join(b'"%d":1,' % n for n in range(9000)), "The line names a member twice in one object."),
        (b'["%b", "\xff"]' % (b"x" * 40_000), "The line is not valid JSON: it is not UTF-8."),
        (b"[%b1e999]" % (b"1," * 20_000), "The line contains a number that is too large."),
        (b"[%b%b]" % (b"1," * 20_000, b"9" * 5000), "The line contains a number that is too large."),
        (b" " * 40_000, "The line is empty."),
        (b"[%b1] 2" % (b"1," * 20_000), "The line is not valid JSON: Extra data at character 40004."),
    ],
    ids=range(9),
)
async def test_errors_match_those_of_reading_at_once(text: bytes, detail: str) -> None:
    for reading in (json_pieces.read_json(text, "The line"), asyncio.to_thread(strict_json.read_json, text, "The line")):
        with pytest.raises(MalformedJSON) as caught:
            await reading
        assert caught.value.detail == detail


async def test_long_text_is_read_correctly() -> None:
    value = {"list": [{"n": n, "a": [n, [str(n)], {}]} for n in range(3000)], "text": "\ufeff" * 50_000}
    for mark in (b"", strict_json.BOM):
        assert await json_pieces.read_json(mark + json.dumps(value).encode()) == value


async def test_others_go_on_while_something_long_is_read() -> None:
    passes = 0

    async def count() -> None:
        nonlocal passes
        while True:
            await asyncio.sleep(0)
            passes += 1

    counting = asyncio.create_task(count())
    text = b"[%b]" % b",".join([b"[]"] * 300_000)
    await asyncio.gather(*(json_pieces.read_json(text, max_values=None) for _ in range(2)))
    counting.cancel()
    assert passes > 60


async def test_too_many_values_are_refused_while_reading() -> None:
    many = b'{"a":[%b]}' % b",".join([b"[]"] * 100_000)
    with pytest.raises(MalformedJSON, match="The body contains more than 30,000 values"):
        await json_pieces.read_json(many)
    assert await json_pieces.read_json(many, max_values=None) == json.loads(many)
    deep = b"[%b]" % b",".join([b"[" * 30 + b"]" * 30] * 2_000)
    with pytest.raises(MalformedJSON, match="The line contains more than 30,000 values"):
        await json_pieces.read_json(deep, "The line")


async def test_only_values_count_not_what_stands_in_strings() -> None:
    text = json.dumps({"a": ',[{"' * 50_000, "b": [0] * 29_000}).encode()
    assert await json_pieces.read_json(text) == json.loads(text)
