"""The AsyncAPI document: what it describes, and where it is served. tests/clients validates it as a whole."""

import json
import re
from typing import Any

import httpx
import pytest

from taskapi.events.follower import EndReason
from taskapi.events.socket.closing import MEANING, OF_END, OF_ERROR
from tests.client import is_problem
from tests.conftest import another
from tests.events.sockets import DOCUMENT, VALIDATORS

REFERENCE = re.compile(r'"\$ref": "#/([^"]+)"')


def look_up(document: dict[str, Any], path: str) -> Any:
    for part in path.split("/"):
        document = document[part]
    return document


def test_every_reference_leads_somewhere() -> None:
    references = set(REFERENCE.findall(json.dumps(DOCUMENT)))
    assert len(references) > 30
    for reference in references:
        assert look_up(DOCUMENT, reference)


def test_every_message_is_in_an_operation() -> None:
    operations = DOCUMENT["operations"].values()
    named = [each["$ref"] for one in operations for each in (*one["messages"], *one.get("reply", {}).get("messages", ()))]
    assert {reference.rpartition("/")[2] for reference in named} == DOCUMENT["components"]["messages"].keys()


@pytest.mark.parametrize("name", sorted(VALIDATORS))
def test_examples_are_valid_messages(name: str) -> None:
    schema = look_up(DOCUMENT, DOCUMENT["components"]["messages"][name]["payload"]["$ref"][2:])
    examples = schema.get("examples")
    if name == "event":  # whose event has its own example
        event = look_up(DOCUMENT, schema["properties"]["event"]["$ref"][2:])["examples"][0]
        examples = [{"type": "event", "subscription": "open", "event": event}]
    for example in examples:
        assert example["type"] == name
        VALIDATORS[name].validate(example)
        assert not VALIDATORS[name].is_valid({**example, "type": "else"})
        assert not VALIDATORS[name].is_valid({})


def test_every_close_code_is_described() -> None:
    assert set(OF_END.values()) | {code for _, code in OF_ERROR} < MEANING.keys()
    assert OF_END.keys() == set(EndReason)
    assert DOCUMENT["channels"]["events"]["x-close-codes"].keys() == {str(int(code)) for code in MEANING}


async def test_it_is_served_beside_the_routes(anonymous: httpx.AsyncClient) -> None:
    answer = await anonymous.get("/asyncapi.json")
    assert answer.headers["content-type"] == "application/json"
    document = answer.json()
    server = document["servers"]["this"]
    assert (server["host"], server["protocol"], server["pathname"]) == ("taskapi", "ws", "/")
    assert {**document, "servers": {}, "info": {}} == {**json.loads(json.dumps(DOCUMENT)), "servers": {}, "info": {}}
    is_problem(await anonymous.get("/asyncapi.json", headers={"Accept": "text/html"}), 406, "not_acceptable")


@pytest.mark.real
async def test_it_is_served_with_the_documentation_only() -> None:
    async with another(docs=False) as client:
        is_problem(await client.get("/asyncapi.json"), 404, "not_found")
    async with another(root_path="/v1") as client:
        answer = await client.get("/v1/asyncapi.json")
        assert answer.json()["servers"]["this"]["pathname"] == "/v1"
