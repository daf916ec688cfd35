# ruff: noqa: RUF001 - letters of other scripts look like Latin ones
"""Forms of equal text, and text that shows nothing."""

import random
import sys
import unicodedata

import pytest
from precis_i18n.unicode import UnicodeData

from taskapi.core.unicode import caseless, has_controls, is_invisible, nfc, spellings

VISIBLE = {
    "a letter": "a",
    "a family, joined": "👩‍👩‍👧",
    "a heart with a variation selector": "❤️",
    "a keycap": "1️⃣",
    "a flag of tags": "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f",
    "Arabic within marks": "\u200fمرحبا\u200e",
    "Hebrew with points": "שָׁלוֹם",
    "Persian with a non-joiner": "می\u200cخواهم",
    "Sinhala with a joiner": "ශ්\u200dරී",
    "a right-to-left embedding": "\u202bעברית\u202c",
    "Hangul of jamo": "\u1112\u1161\u11ab",
    "a mark alone": "\u0301",
    "an Arabic number sign": "\u0600",
    "an emoji that this Python does not know": "\U0001fae9",
    "private use": "\uf8ff",
    "Braille": "\u2801",
}
INVISIBLE = {
    "nothing": "",
    "spaces": " \t\n\u00a0\u3000\u2003\u1680",
    "line and paragraph separators": "\u2028\u2029\u0085",
    "zero width": "\u200b\u200c\u200d\u2060\ufeff",
    "fillers": "\u3164\u115f\u1160\uffa0\U00016fe4",
    "Braille blank": "\u2800",
    "soft hyphens": "\u00ad\u00ad",
    "marks of direction": "\u200e\u200f\u061c",
    "embeddings and isolates": "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069",
    "controls": "\x01\x1b\x7f\x9f",
    "variation selectors": "\ufe0f\U000e0100\u180b",
    "tags": "\U000e0001\U000e0041\U000e007f",
    "grapheme joiner": "\u034f",
    "invisible operators": "\u2061\u2062\u2063\u2064",
    "Khmer inherent vowels": "\u17b4\u17b5",
    "null notehead": "\U0001d159",
    "annotation": "\ufff9\ufffa\ufffb",
}


@pytest.mark.parametrize("text", VISIBLE.values(), ids=VISIBLE)
def test_text_that_shows_something_is_visible(text: str) -> None:
    assert not is_invisible(text)
    assert not is_invisible(f"\u200b {text}\u200b")


@pytest.mark.parametrize("text", INVISIBLE.values(), ids=INVISIBLE)
def test_text_that_shows_nothing_is_invisible(text: str) -> None:
    assert is_invisible(text)


def test_default_ignorable_characters_are_invisible_letters_are_not() -> None:
    """Against the tables of another implementation, character by character."""
    data = UnicodeData()
    blank = {"\u2800", "\U0001d159", "\U00016fe4", *map(chr, range(0x13441, 0x13447))}  # the last are letters from Unicode 15 on
    for character in map(chr, range(sys.maxunicode + 1)):
        category = unicodedata.category(character)
        if data.default_ignorable(ord(character)) or category in {"Cc", "Zs", "Zl", "Zp"}:
            assert is_invisible(character), ascii(character)
        elif category[0] in "LMNPS" and character not in blank:
            assert not is_invisible(character), ascii(character)


def test_controls_are_all_but_tab_and_line_ends() -> None:
    controls = [character for character in map(chr, range(sys.maxunicode + 1)) if unicodedata.category(character) == "Cc"]
    assert [character for character in controls if not has_controls(f"a{character}b")] == ["\t", "\n", "\r"]
    assert not has_controls("".join(set(map(chr, range(0xD800))) - set(controls)))


@pytest.mark.parametrize("length", [3, 70, 300, 3000])
def test_nfc_matches_unicodedata_for_any_number_of_marks(length: int) -> None:
    """Runs of marks are sorted before ``unicodedata`` does it, whose time grows with the square of their number."""
    draw = random.Random(length)
    marks = [character for character in map(chr, range(0x300, 0x1E950)) if unicodedata.category(character) in {"Mn", "Mc"}]
    for texts in ([*marks, *"aeé가ㄱ\u1100\u1161\u11a8—-ạ "], ["\u0301", "\u0316"], ["\u0f73", "\u0f75", "\u0344"]):
        for _ in range(30):
            text = "".join(draw.choices(texts, k=length))
            assert nfc(text) == unicodedata.normalize("NFC", text)
            assert spellings(text)[0] == nfc(text)
            assert {unicodedata.normalize("NFD", text), text} <= set(spellings(text))


def test_text_differing_in_form_or_case_shares_key() -> None:
    assert caseless("J\u030c") == caseless("\u01f0") == caseless("j\u030c")
    assert caseless("CAFE\u0301") == caseless("caf\u00e9")
    assert caseless("Straße") == caseless("STRASSE")
    assert caseless("cafe") != caseless("caf\u00e9")
    assert spellings("plain") == ["plain"]
    assert spellings("\u00ea\u0301") == ["\u1ebf", "e\u0302\u0301", "\u00ea\u0301"]
