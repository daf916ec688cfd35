"""Reading messages: whatever comes, it is a message, or one of two refusals."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskapi.core.errors import FieldError
from taskapi.events.errors import BadMessage
from taskapi.events.socket.messages import CLIENT, InvalidMessage, error_message, read_message
from tests.events.sockets import VALIDATORS

EXAMPLES = 2_000
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
)
NAMES = st.sampled_from(["id", "where", "tag", "status", "since", "window", "position", "token", "more"])


def read(text: str) -> None:
    """Reads a message. What is told of a refusal is a message, too, and repeats nothing of it."""
    try:
        message = read_message(text)
    except InvalidMessage as refused:
        VALIDATORS["error"].validate(json.loads(error_message(refused, refused.subscription)))
    except BadMessage:
        pass
    else:
        assert VALIDATORS[message.type].is_valid(json.loads(text))


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    read(text.encode(errors="replace").decode())


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.sampled_from(sorted(CLIENT)), st.dictionaries(NAMES, VALUES))
def test_any_members_are_read_or_refused(kind: str, members: dict[str, Any]) -> None:
    read(json.dumps({**members, "type": kind}))


@pytest.mark.parametrize("deep", ["[" * 30_000, '{"a":' * 30_000, '{"type":"subscribe","id":"s","where":' + '{"$not":' * 5_000])
def test_depth_is_refused(deep: str) -> None:
    with pytest.raises(BadMessage):
        read_message(deep)


def test_an_error_repeats_no_value() -> None:
    secret = "tsk_secret"
    with pytest.raises(InvalidMessage) as refused:
        read_message(json.dumps({"type": "authenticate", "token": 3000 * secret, "more": secret}))
    assert secret not in error_message(refused.value)


@pytest.mark.parametrize("name", ["", "a b", 65 * "a"])
def test_wrong_subscription_id_is_refused_in_words(name: str) -> None:
    with pytest.raises(InvalidMessage) as refused:
        read_message(json.dumps({"type": "unsubscribe", "id": name}))
    message = "must be 1 to 64 letters from A to Z, digits, full stops, hyphens and underscores"
    assert refused.value.faults == (FieldError("id", message, "string_pattern_mismatch"),)
