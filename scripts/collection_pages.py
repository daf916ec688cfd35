"""The page of a collection, in Markdown."""

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from beanie import Document
from bson import ObjectId
from collection_fields import DocsError, Field, all_fields, described_class, is_internal, shapes
from pymongo import DESCENDING

from taskapi.db.indexes import Index
from taskapi.db.schema import VERSION
from taskapi.db.views import View

BSON = dict[str, Any]
GENERATED = "<!-- ./scripts/docs writes this page from the code. Do not edit it. -->"
MAX_BYTES_SHOWN = 16
PLAIN_OPTIONS = {"name", "key", "expireAfterSeconds", "unique", "sparse", "partialFilterExpression", "textIndexVersion"}
TABLE = "| field | BSON type | limits | meaning |\n| --- | --- | --- | --- |"
OVERVIEW_TABLE = "| collection | a document is | for |\n| --- | --- | --- |"
VIEW_TABLE = "| field | BSON type | meaning |\n| --- | --- | --- |"
BEGINS, ENDS = "<!-- ./scripts/docs writes what follows -->", "<!-- end of what is written by ./scripts/docs -->"
INTERNAL = "This collection belongs to the service: scripts have no use for it, and any version may change it."
INDEX_TABLE = "| index | keys | properties | serves |\n| --- | --- | --- | --- |"


def page(document: type[Document], examples: Iterable[BSON]) -> str:
    """The whole page of a collection."""
    name, fields = document.Settings.name, list(all_fields(document))
    parts = [GENERATED, f"# {name}", described_class(document)]
    parts += [INTERNAL] if is_internal(document) else []
    parts += ["## Fields", _table(TABLE, map(_field_row, fields))]
    parts += _rules(document)
    for shape in shapes(document)[1:]:
        parts += [f"## {shape.__name__}", described_class(shape), _table(TABLE, map(_field_row, all_fields(shape)))]
    if secret := [f"`{field.path}`" for field in fields if field.confidential]:
        parts += ["## Secrets", f"Never copy these fields out of the database: {_listing(secret, 'and')}."]
    parts.append("## Indexes")
    indexes: list[Index] = document.Settings.indexes
    parts.append(_table(INDEX_TABLE, map(_index_row, indexes)) if indexes else "None, except that of `_id`.")
    parts += ["## Examples", "A running API has stored them; ids, times, hashes and other bytes were replaced since."]
    parts += [f"```js\n{_shell(example)}\n```" for example in examples]
    parts += [
        "## Schema",
        f"`schemas/{name}.validator.json` is the validator by which MongoDB refuses other documents. "
        f"`schemas/{name}.schema.json` is a JSON Schema of the lines that `mongoexport` writes.",
    ]
    return "\n\n".join(parts) + "\n"


def overview(documents: Iterable[type[Document]]) -> str:
    """The version of the schema, and a table of the collections."""
    return f"This is version {VERSION} of the schema.\n\n{_table(OVERVIEW_TABLE, map(_overview_row, documents))}"


def view_sections(views: Iterable[View]) -> str:
    """A section for each view."""
    return "\n\n".join(map(_view_section, views))


def fill(written: str, generated: str) -> str:
    """A page that is written by hand, with what is generated between the marks in it."""
    before, begins, rest = written.partition(BEGINS)
    _, ends, after = rest.partition(ENDS)
    if not begins or not ends:
        raise DocsError(f"a page has no place for what is generated: {BEGINS} and {ENDS}")
    return f"{before}{BEGINS}\n\n{generated}\n\n{ENDS}{after}"


def _overview_row(document: type[Document]) -> str:
    name, (first, *_) = document.Settings.name, described_class(document).split("\n\n")
    use = "the service alone" if is_internal(document) else "scripts"
    return f"| [`{name}`]({name}.md) | {_cell(first)} | {use} |"


def _view_section(view: View) -> str:
    if missing := [field.name for field in view.fields if not field.types or not field.meaning] or not view.description:
        raise DocsError(f"the view {view.name} has no description, or fields have none: {missing}")
    rows = (f"| `{field.name}` | {field.types} | {_cell(field.meaning)} |" for field in view.fields)
    reads = f"It reads `{view.on.Settings.name}`."
    granted = " Analysts may read it only if an operator says so, because it has personal data." if view.on_request else ""
    return f"## {view.name}\n\n{view.description} {reads}{granted}\n\n{_table(VIEW_TABLE, rows)}"


def _table(head: str, rows: Iterable[str]) -> str:
    return "\n".join([head, *rows])


def _field_row(field: Field) -> str:
    kind = bson_type(field.schema, absent=not field.required)
    meaning = f"**Secret.** {field.description}" if field.confidential else field.description
    return f"| `{field.path}` | {kind} | {'; '.join(limits(field.schema))} | {_cell(meaning)} |"


def _rules(document: type[Document]) -> Iterator[str]:
    always, later = (getattr(document.Settings, name, ()) for name in ("rules", "later_rules"))
    if always or later:
        yield "## Rules between fields"
        yield "\n".join(f"- {_comment(document, rule)}" for rule in always)
    if later:
        yield "While workers of earlier versions may still write, MongoDB does not check these:"
        yield "\n".join(f"- {_comment(document, rule)}" for rule in later)


def _comment(document: type[Document], rule: BSON) -> str:
    if "$comment" not in rule:
        raise DocsError(f"a rule of {document.__name__} has no $comment that describes it: {rule}")
    return str(rule["$comment"])


def _cell(markdown: str) -> str:
    return markdown.replace("\n\n", " ").replace("|", "\\|")


def bson_type(schema: BSON, *, absent: bool = False) -> str:
    """The BSON types of a value, in words."""
    return _listing(kinds(schema, absent=absent), "or")


def kinds(schema: BSON, *, absent: bool = False) -> list[str]:
    """The BSON types of a value, each with those of its members."""
    found = schema.get("bsonType")
    words = []
    for kind in [found] if isinstance(found, str) else list(found or _types_of(schema.get("enum", ()))):
        items = schema.get("items", {}) if kind == "array" else {}
        members = schema.get("additionalProperties") if kind == "object" and "properties" not in schema else None
        if isinstance(items, list):  # each element has a type of its own
            words.append(f"array [{', '.join(map(bson_type, items))}]")
        elif items:
            words.append(f"array of {bson_type(items)}")
        elif isinstance(members, dict) and isinstance(members.get("bsonType"), str):
            words.append(f"object of {bson_type(members)}")
        else:
            words.append(kind)
    return [*(words or ["any"]), *(["absent"] if absent else [])]


def _types_of(values: Iterable[Any]) -> Iterator[str]:
    return iter(dict.fromkeys("null" if value is None else "string" for value in values))


def limits(schema: BSON) -> Iterator[str]:
    """The limits of a value, and of the members of a list, in words."""
    if values := [f"`{value}`" for value in schema.get("enum", ()) if value is not None]:
        yield _listing(values, "or")
    yield from _range(schema, "minLength", "maxLength", "characters")
    if pattern := schema.get("pattern"):
        yield f"matches `{_cell(pattern)}`"
    if "double" not in schema.get("bsonType", ()) or schema.get("maximum", 0) < 1e300:
        yield from _range(schema, "minimum", "maximum")
    yield from _range(schema, "minProperties", "maxProperties", "members")
    yield from _range(schema, "minItems", "maxItems", "items")
    if schema.get("uniqueItems"):
        yield "distinct"
    if isinstance(items := schema.get("items"), dict) and (inner := list(limits(items))):
        yield f"each {', '.join(inner)}"


def _range(schema: BSON, least: str, most: str, unit: str = "") -> Iterator[str]:
    low, high = (f"{schema[bound]:,}" if bound in schema else None for bound in (least, most))
    if low and high:
        yield (low if low == high else f"{low} to {high}") + f" {unit}".rstrip()
    elif low or high:
        yield (f"at least {low}" if low else f"at most {high}") + f" {unit}".rstrip()


def _index_row(index: Index) -> str:
    keys, properties = ", ".join(index_keys(index)), "; ".join(index_properties(index))
    return f"| `{index.name}` | {keys} | {properties} | {_cell(index.serves)} |"


def index_keys(index: Index) -> list[str]:
    """The keys of an index, each with its direction."""
    return [f"`{name}`{_direction(order)}" for name, order in index.document["key"].items()]


def _direction(order: Any) -> str:
    return " ↓" if order == DESCENDING else f" ({order})" if isinstance(order, str) else ""


def index_properties(index: Index) -> Iterator[str]:
    """The other properties of an index, in words."""
    definition = index.document
    if definition.get("unique"):
        yield "unique"
    if definition.get("sparse"):
        yield "sparse"
    if "expireAfterSeconds" in definition:
        yield f"TTL of {definition['expireAfterSeconds']} s"
    if condition := definition.get("partialFilterExpression"):
        yield f"for documents that match `{_shell(condition, indent=None)}`"
    for name in sorted(definition.keys() - PLAIN_OPTIONS):
        yield f"`{name}: {_shell(_plain(definition[name]), indent=None)}`"


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else value


def _listing(words: list[str], last: str) -> str:
    return f" {last} ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def _shell(value: Any, indent: int | None = 2, depth: int = 1) -> str:
    """A value as mongosh writes it. Objects without objects in them take one line if they are short."""
    match value:
        case ObjectId():
            return f'ObjectId("{value}")'
        case datetime():
            return f'ISODate("{value.strftime("%Y-%m-%dT%H:%M:%S")}.{value.microsecond // 1000:03}Z")'
        case bytes():
            cut = value[:MAX_BYTES_SHOWN]
            return f'HexData(0, "{cut.hex()}{"…" if len(cut) < len(value) else ""}")'
        case dict():
            members = [f"{_key(key)}: {_shell(member, indent, depth + 1)}" for key, member in value.items()]
            return _group(members, "{}", " ", indent, depth)
        case list() | tuple():
            return _group([_shell(member, indent, depth + 1) for member in value], "[]", "", indent, depth)
    return json.dumps(value, ensure_ascii=False)


def _key(name: str) -> str:
    return name if name.replace("$", "_").isidentifier() else json.dumps(name)


def _group(members: list[str], brackets: str, space: str, indent: int | None, depth: int) -> str:
    line = ", ".join(members)
    if not members:
        return brackets
    if indent is None or (depth > 1 and len(line) <= 100 and "\n" not in line):
        return f"{brackets[0]}{space}{line}{space}{brackets[1]}"
    inner, outer = " " * indent * depth, " " * indent * (depth - 1)
    return f"{brackets[0]}\n" + "".join(f"{inner}{member},\n" for member in members) + outer + brackets[1]
