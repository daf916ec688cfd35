"""What generated clients depend on: the OpenAPI document without its texts. It may grow; what is in it stays.

When a route or a field is added, ``python -m tests.web.test_openapi_contract`` writes it anew.
"""

import json
from pathlib import Path
from typing import Any

from taskapi.core.settings import Settings
from taskapi.main import create_app

CONTRACT = Path(__file__).with_name("openapi_contract.txt")
TEXTS = {"description", "summary", "examples", "example"}


def without_texts(node: Any, *, names: bool = False) -> Any:
    """``node`` without what people read; below ``properties`` and the like the keys are names, which stay."""
    if isinstance(node, dict):
        return {
            key: without_texts(value, names=key in {"properties", "schemas", "parameters", "headers"})
            for key, value in node.items()
            if names or key not in TEXTS
        }
    return [without_texts(each) for each in node] if isinstance(node, list) else node


def contract() -> list[str]:
    """A line for each operation, schema and header, in the order of their names."""
    document = create_app(Settings(_env_file=None)).openapi()
    parts = {
        f"{method.upper()} {path}": operation for path, item in document["paths"].items() for method, operation in item.items()
    }
    for section in ("schemas", "headers", "securitySchemes"):
        parts |= {f"{section} {name}": part for name, part in document["components"][section].items()}
    return [f"{name} {json.dumps(without_texts(part), sort_keys=True)}" for name, part in sorted(parts.items())]


def test_the_openapi_document_is_as_clients_know_it() -> None:
    assert contract() == CONTRACT.read_text().splitlines()


if __name__ == "__main__":
    CONTRACT.write_text("\n".join(contract()) + "\n")
