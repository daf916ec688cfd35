"""Unicode text: one form for equal texts, and whether a text is visible."""

import re
import unicodedata
from typing import Literal

_DIRECT = 256  # characters: so many marks are sorted in 0.1 ms
_LONG_RUN = re.compile(r"[^\x00-\u02ff\w\s]{32,}")  # all combining marks are among these characters

_CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")  # general category Cc, but tab, line feed, carriage return

# Default_Ignorable_Code_Point (Unicode 16, DerivedCoreProperties.txt), control characters and white space, and what is drawn
# as a blank: Braille pattern blank, null notehead, interlinear annotation, Khitan filler, Egyptian format controls and blanks.
_INVISIBLE = re.compile(
    r"[\s\x00-\x20\x7f-\x9f"
    r"\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff"
    r"\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
    r"\u2800\U0001d159\ufff9-\ufffb\U00016fe4\U00013430-\U0001343f\U00013441-\U00013446]*"
)


def nfc(text: str) -> str:
    """``text`` in Normalization Form C (UAX 15), in which canonically equivalent texts are equal."""
    return _normalized("NFC", text)


def spellings(text: str) -> list[str]:
    """The forms in which older versions may have stored ``text``: NFC, then NFD and ``text`` itself if they differ."""
    return [text] if text.isascii() else list(dict.fromkeys((nfc(text), _normalized("NFD", text), text)))


def caseless(text: str) -> str:
    """A key that is equal for texts that differ only in case or normalization form."""
    return text.lower() if text.isascii() else nfc(nfc(text).casefold())


def has_controls(text: str) -> bool:
    """Whether there is a control character other than tab, line feed and carriage return."""
    return _CONTROLS.search(text) is not None


def is_invisible(text: str) -> bool:
    """Whether ``text`` has no visible character: it is empty, or only blanks, fillers, joiners, controls and the like."""
    return _INVISIBLE.fullmatch(text) is not None


def _normalized(form: Literal["NFC", "NFD"], text: str) -> str:
    if text.isascii():
        return text
    if len(text) > _DIRECT:
        # unicodedata sorts marks in quadratic time, which a hostile text of many marks would use; sorted ones take no time.
        text = _LONG_RUN.sub(_with_sorted_marks, text)
    return unicodedata.normalize(form, text)


def _with_sorted_marks(run: re.Match[str]) -> str:
    """Canonical ordering (The Unicode Standard, D109) of a run."""
    written, marks = list[str](), list[str]()
    for character in "".join(unicodedata.normalize("NFD", character) for character in run[0]):
        if unicodedata.combining(character):
            marks.append(character)
        else:
            written += [*sorted(marks, key=unicodedata.combining), character]
            marks = []
    return "".join([*written, *sorted(marks, key=unicodedata.combining)])
