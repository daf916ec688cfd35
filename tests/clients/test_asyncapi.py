"""The AsyncAPI document is valid by the JSON Schema of the specification, which npm has: scripts/clients installs it."""

import json
from pathlib import Path

import jsonschema_rs
import pytest

from tests.server.process import serving

SCHEMA = Path(__file__).parent / "node_modules" / "@asyncapi" / "specs" / "schemas" / "3.0.0.json"


@pytest.mark.real
def test_the_document_is_valid(tmp_path: Path) -> None:
    validator = jsonschema_rs.validator_for(json.loads(SCHEMA.read_text()))
    with serving(tmp_path / "data") as server, server.client() as client:
        document = client.get("/asyncapi.json").json()
    assert document["asyncapi"] == SCHEMA.stem
    validator.validate(document)
    document["operations"]["ping"]["action"] = "shout"
    assert not validator.is_valid(document)
