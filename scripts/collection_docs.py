"""Writes the pages of the collections (docs/collections/) and their schemas (schemas/) from the document classes.

With --check, writes nothing and fails if a file differs. Needs no database.
"""

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bson import json_util
from collection_fields import DocsError
from collection_pages import overview, page
from collection_schemas import schema_file, validator_file

from taskapi.db.schema import VERSION
from taskapi.main import DOCUMENTS

ROOT = Path(__file__).parents[1]
PAGES, SCHEMAS = Path("docs", "collections"), Path("schemas")
CHANGELOG, INDEX = PAGES / "changelog.md", PAGES / "index.md"
EXAMPLES: dict[str, list[dict[str, Any]]] = json_util.loads(
    Path(__file__).with_name("collection_examples.json").read_text(encoding="utf-8"),
    json_options=json_util.JSONOptions(tz_aware=True),
)
"""Documents of each collection that a running API has stored; tests/scripts/test_collection_examples.py records them."""


def generate() -> dict[Path, str]:
    """The text of each generated file, by its path in the repository. Of the index, only the table is generated."""
    files = {INDEX: overview((ROOT / INDEX).read_text(encoding="utf-8"), DOCUMENTS)}
    for document in DOCUMENTS:
        name = document.Settings.name
        files[PAGES / f"{name}.md"] = page(document, EXAMPLES[name])
        files[SCHEMAS / f"{name}.schema.json"] = schema_file(document)
        files[SCHEMAS / f"{name}.validator.json"] = validator_file(document)
    return files


def differences(files: dict[Path, str], root: Path) -> Iterator[str]:
    """What differs between generated files and those below ``root``, and what must be done by hand."""
    present = {path.relative_to(root) for folder in (PAGES, SCHEMAS) for path in (root / folder).glob("*")} - {CHANGELOG}
    for path in sorted(present | files.keys()):
        if path not in files:
            yield f"{path} belongs to no collection"
        elif path not in present:
            yield f"{path} is missing"
        elif (root / path).read_text(encoding="utf-8") != files[path]:
            yield f"{path} differs from the code"


def current_version(changelog: str) -> str | None:
    """The version that the changelog describes first."""
    found = re.search(r"^## (\S+)", changelog, re.MULTILINE)
    return found and found[1]


def write(files: dict[Path, str], root: Path) -> None:
    """Writes the files below ``root``, and removes those of former collections."""
    for folder in (PAGES, SCHEMAS):
        (root / folder).mkdir(parents=True, exist_ok=True)
        for path in (root / folder).glob("*"):
            if path.relative_to(root) not in {*files, CHANGELOG}:
                path.unlink()
    for path, written in files.items():
        (root / path).write_text(written, encoding="utf-8")


def main() -> int:
    """Writes or compares; the number of problems."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare only")
    options = parser.parse_args()
    try:
        files = generate()
    except DocsError as error:
        print(error, file=sys.stderr)
        return 1
    problems = list(differences(files, ROOT)) if options.check else []
    if problems:
        problems.append("run ./scripts/docs, and describe the change in docs/collections/changelog.md")
    if not options.check:
        write(files, ROOT)
    if (latest := current_version((ROOT / CHANGELOG).read_text(encoding="utf-8"))) != VERSION:
        problems.append(f"{CHANGELOG} begins with version {latest}, but taskapi/db/schema.py says {VERSION}")
    for problem in problems:
        print(problem, file=sys.stderr)
    return len(problems)


if __name__ == "__main__":
    sys.exit(main())
