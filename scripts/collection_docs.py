"""Writes the pages of the collections (docs/collections/) and their schemas (schemas/) from the document classes.

With --check, writes nothing and fails if a file differs. With --release, also writes down what the schema promises: from then
on, its version must change with it. Needs no database.
"""

import argparse
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bson import json_util
from collection_fields import DocsError
from collection_pages import fill, overview, page, view_sections
from collection_schemas import schema_file, validator_file
from collection_versions import additions, change, contract, is_right

from taskapi.db.schema import VERSION
from taskapi.main import DOCUMENTS, VIEWS

ROOT = Path(__file__).parents[1]
PAGES, SCHEMAS = Path("docs", "collections"), Path("schemas")
CHANGELOG, INDEX, VIEWS_PAGE = PAGES / "changelog.md", PAGES / "index.md", Path("docs", "views.md")
RELEASED = SCHEMAS / "released.json"
BY_HAND = {CHANGELOG, RELEASED}
EXAMPLES: dict[str, list[dict[str, Any]]] = json_util.loads(
    Path(__file__).with_name("collection_examples.json").read_text(encoding="utf-8"),
    json_options=json_util.JSONOptions(tz_aware=True),
)
"""Documents of each collection that a running API has stored; tests/scripts/test_collection_examples.py records them."""


def generate() -> dict[Path, str]:
    """The text of each generated file, by its path in the repository. Of the index and the page of the views, a part is."""
    parts = {INDEX: overview(DOCUMENTS), VIEWS_PAGE: view_sections(VIEWS)}
    files = {path: fill((ROOT / path).read_text(encoding="utf-8"), part) for path, part in parts.items()}
    for document in DOCUMENTS:
        name = document.Settings.name
        files[PAGES / f"{name}.md"] = page(document, EXAMPLES[name])
        files[SCHEMAS / f"{name}.schema.json"] = schema_file(document)
        files[SCHEMAS / f"{name}.validator.json"] = validator_file(document)
    return files


def differences(files: dict[Path, str], root: Path) -> Iterator[str]:
    """What differs between generated files and those below ``root``, and what must be done by hand."""
    present = {path.relative_to(root) for folder in (PAGES, SCHEMAS) for path in (root / folder).glob("*")} - BY_HAND
    for path in sorted(present | files.keys()):
        if path not in files:
            yield f"{path} belongs to no collection"
        elif not (root / path).exists():
            yield f"{path} is missing"
        elif (root / path).read_text(encoding="utf-8") != files[path]:
            yield f"{path} differs from the code"


def wrong_versions(root: Path) -> Iterator[str]:
    """What is wrong with the version of the schema."""
    _, newest, described, *_ = re.split(r"^## (\S+)$", (root / CHANGELOG).read_text(encoding="utf-8"), flags=re.MULTILINE)
    if newest != VERSION:
        yield f"{CHANGELOG} begins with version {newest}, but taskapi/db/schema.py says {VERSION}"
    released, current = json.loads((root / RELEASED).read_text(encoding="utf-8")), contract(DOCUMENTS, VIEWS)
    for name in additions(released["contract"], current):
        if f"`{name}`" not in described:
            yield f"{CHANGELOG} does not mention `{name}`, which is new"
    changed = change(released["contract"], current)
    if not is_right(VERSION, released["version"], changed):
        yield f"version {VERSION} of the schema cannot follow {released['version']}: the change is {changed.name}"


def release(root: Path) -> None:
    """Writes down what this version of the schema promises."""
    promised = {"version": VERSION, "contract": contract(DOCUMENTS, VIEWS)}
    (root / RELEASED).write_text(json.dumps(promised, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def write(files: dict[Path, str], root: Path) -> None:
    """Writes the files below ``root``, and removes those of former collections."""
    for folder in (PAGES, SCHEMAS):
        (root / folder).mkdir(parents=True, exist_ok=True)
        for path in (root / folder).glob("*"):
            if path.relative_to(root) not in {*files, *BY_HAND}:
                path.unlink()
    for path, written in files.items():
        (root / path).write_text(written, encoding="utf-8")


def main() -> int:
    """Writes or compares; the number of problems."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare only")
    parser.add_argument("--release", action="store_true", help="the schema is released as it is")
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
    problems += wrong_versions(ROOT)
    if options.release and not problems:
        release(ROOT)
    for problem in problems:
        print(problem, file=sys.stderr)
    return len(problems)


if __name__ == "__main__":
    sys.exit(main())
