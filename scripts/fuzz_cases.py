"""The cases of fuzz.py: requests that are mostly almost valid, because plainly invalid ones are refused early."""

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple
from urllib.parse import quote

from hypothesis import strategies as st

from taskapi.tasks.definitions import Kind
from taskapi.tasks.fields import FIELDS, PublicField
from taskapi.tasks.query.filter import LOGICAL, OPERATORS
from taskapi.tasks.schemas import TaskUpdate
from taskapi.tasks.services.json_patch import MEDIA_TYPE as JSON_PATCH

JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"
Strategy = st.SearchStrategy[Any]


class Case(NamedTuple):
    """One request."""

    method: str
    path: str
    content: bytes = b""
    headers: Mapping[str, str] = MappingProxyType({})


def members(values: Strategy, least: int = 0, most: int = 3) -> Strategy:
    return st.lists(values, min_size=least, max_size=most)


class Cases:
    """The strategies, by target. ``ids`` holds for each name the id of the account, then those of its tasks; Ada sends."""

    def __init__(self, ids: dict[str, list[str]]) -> None:
        every = [task_id for one in ids.values() for task_id in one]
        self.task_ids = st.sampled_from(ids["ada"][1:] * 8 + every + ["0" * 24, "x", "$ne", "%00", ".."])
        dates = ["2027-01-31", "2027-01-31T09:15:00Z", "0001-01-01T00:00:00+14:00"]
        odd = ["", "$", "$where", "$ne", "\x00", "a.b", "0", "-", "e\u0301", "~1"]
        usual = ["a", "b", "x", "ada", "bob", "done", "todo", "work", "report", "https://example.com"]
        words = [*odd, *usual, *dates, *every]
        self.words = st.sampled_from([*words * 9, "\ud800"])
        self.plain = st.sampled_from(usual) | st.text(max_size=8)
        self.texts = self.words | st.text(max_size=8)
        deep: Any = 1
        for level in range(200):
            deep = [deep] if level % 2 else {"a": deep}
        numbers = st.sampled_from([0, 1, -1, 3, 5, 2**31, 2**53 + 1, 2**63 - 1, 2**63, -(2**63) - 1, 1e308, 0.5, -0.0])
        seldom = st.sampled_from([1.5] * 30 + [float("nan"), 10**400, deep])  # hardly any of these is accepted
        self.scalars: Strategy = st.none() | st.booleans() | numbers | st.integers() | seldom | self.texts
        self.json = st.recursive(
            self.scalars,
            lambda inner: members(inner) | st.dictionaries(self.names(), inner, max_size=3),
            max_leaves=12,
        )
        self.by_kind: dict[Kind, Strategy] = {
            Kind.text: self.plain,
            Kind.tag: self.plain,
            Kind.link: st.just("https://example.com/figures"),
            Kind.status: st.sampled_from(["todo", "in_progress", "done"]),
            Kind.flag: st.booleans(),
            Kind.integer: st.integers(-3, 9),
            Kind.number: st.floats(0, 1),
            Kind.day: st.dates().map(str),
            Kind.moment: st.datetimes().map(lambda moment: f"{moment.isoformat()}Z"),
            Kind.object_id: st.sampled_from(every),
            Kind.members: st.just([]),
            Kind.metadata: st.dictionaries(self.plain, self.scalars, max_size=2),
            Kind.json: self.scalars,
        }
        self.almost = st.recursive(self._condition(), self._logic, max_leaves=8)
        self.filters = self._filters()

    def names(self) -> Strategy:
        operators = st.sampled_from([*sorted(OPERATORS | LOGICAL), "$where", "$expr", "$function", "$regex", "$text", "$type"])
        internal = st.sampled_from(
            ["_id", "history", "history.by.id", "trash.owner.id", "owner.password_hash", "__proto__", "a.b"]
        )
        free = members(self.words, 1, 7).map(lambda parts: ".".join(["metadata", *parts]))
        return st.sampled_from(sorted(FIELDS)) | operators | internal | free | self.texts

    def _condition(self) -> Strategy:
        """A condition on one field, by its type."""
        below = members(st.sampled_from(["a", "b", "0", "text"]), 1, 3).map(lambda parts: ".".join(["metadata", *parts]))

        def of(name: str) -> Strategy:
            known = FIELDS.get(name, PublicField(name, Kind.json, listed=True))
            value = self.by_kind[known.kind]
            there = st.booleans().map(lambda given: {"$exists": given})
            one = st.sampled_from(["$eq", "$ne", "$gt", "$gte", "$lt", "$lte"]).flatmap(lambda o: value.map(lambda v: {o: v}))
            many = st.sampled_from(["$in", "$nin", "$all"]).flatmap(lambda o: members(value).map(lambda v: {o: v}))
            taken = there if known.kind is Kind.members else value | there if known.kind is Kind.metadata else value | one | many
            if known.listed:
                inside = one | many if known.kind in (Kind.tag, Kind.link) else self._item()
                taken |= st.integers(0, 3).map(lambda number: {"$size": number}) | inside.map(lambda given: {"$elemMatch": given})
            return (taken | (one | there).map(lambda given: {"$not": given})).map(lambda given: {name: given})

        return (st.sampled_from(sorted(FIELDS)) | below).flatmap(of)

    def _item(self) -> Strategy:
        return st.fixed_dictionaries({"done": st.booleans()}, optional={"text": self.plain, "id": self.by_kind[Kind.object_id]})

    def _logic(self, inner: Strategy) -> Strategy:
        logic = st.sampled_from(sorted(LOGICAL)).flatmap(lambda name: members(inner, 1).map(lambda parts: {name: parts}))
        both = st.tuples(inner, inner).map(lambda pair: {**pair[0], **pair[1]})
        return logic | both

    def _filters(self) -> Strategy:
        wild = st.dictionaries(self.names(), self.json, max_size=4) | self.json
        mixed = st.tuples(self.almost, wild).map(lambda pair: {**pair[0], **pair[1]} if isinstance(pair[1], dict) else pair)
        return self.almost | self.almost | mixed | wild

    def bodies(self, values: Strategy) -> Strategy:
        """JSON in UTF-8, sometimes truncated."""

        def written(value: Any, cut: int) -> bytes:
            text = json.dumps(value).encode()
            return text[: len(text) - cut]

        return st.builds(written, values, st.sampled_from([0] * 40 + [1, 7]))

    def listing(self) -> Strategy:
        more = st.sampled_from(
            ["", "&limit=3", "&sort=title", "&fields=id,title", "&count=none", "&q=report", "&status=todo", "&x=1"]
        )
        texts = self.bodies(self.filters).map(lambda body: quote(body)) | st.text(max_size=20).map(lambda text: quote(text))
        return st.builds(lambda text, rest: Case("GET", f"/tasks?where={text}{rest}"), texts, more)

    def search(self) -> Strategy:
        good = {"where": self.filters, "sort": st.sampled_from(["title", "-priority,due_date"]), "limit": st.integers(1, 9)}
        good |= {
            "q": st.sampled_from(["report", "-report", '"quarterly report"', "$where"]),
            "fields": st.just("id,owner.username"),
        }
        wild = {"cursor": self.json, "q": self.json, "sort": self.json, "fields": self.json}
        body = st.fixed_dictionaries({}, optional=good) | st.fixed_dictionaries({"where": self.filters}, optional=wild)
        return self.bodies(body).map(lambda content: Case("POST", "/tasks/search", content, {"Content-Type": JSON}))

    def _right(self) -> Strategy:
        """A writable field with a valid value."""
        right = {name: self.by_kind[FIELDS[name].kind] for name in TaskUpdate.model_fields}
        item = st.fixed_dictionaries({"text": self.plain}, optional={"done": st.booleans(), "id": self.by_kind[Kind.object_id]})
        right |= {"tags": members(self.plain), "links": members(self.by_kind[Kind.link]), "checklist": members(item)}
        right |= {"priority": st.integers(1, 5), "metadata": st.dictionaries(self.plain, self.json, max_size=3)}
        return st.sampled_from(sorted(right)).flatmap(lambda name: st.tuples(st.just(name), right[name]))

    def changes(self) -> Strategy:
        right = members(self._right(), 1).map(dict)
        wild = st.dictionaries(self.names(), self.json, max_size=3)
        return right | st.tuples(right, wild).map(lambda pair: {**pair[0], **pair[1]}) | wild

    def operations(self) -> Strategy:
        internal = st.sampled_from(["owner", "id", "version", "history", "_id", ""])
        places = st.sampled_from(sorted(TaskUpdate.model_fields)) | internal
        parts = self.words | st.sampled_from(["0", "1", "-", "-1", "01", "9" * 30, "text", "done", "id", "~0", "~1", "~", "~2"])
        pointers = st.builds(lambda place, rest: "/".join(["", place, *rest]), places, members(parts, 0, 2)) | self.texts
        kinds = st.sampled_from(["add", "remove", "replace", "move", "copy", "test"])
        wild = st.fixed_dictionaries({"op": kinds, "path": pointers, "value": self.json}, optional={"from": pointers})
        right = self._right().map(lambda pair: {"op": "replace", "path": f"/{pair[0]}", "value": pair[1]})
        keys = st.sampled_from(["a", "b/0", "x~1y", "$set", "text"]).map(lambda key: f"/metadata/{key}")
        right |= st.builds(lambda path, value: {"op": "add", "path": path, "value": value}, keys, self.scalars)
        right |= keys.map(lambda path: {"op": "copy", "path": path, "from": "/tags"})
        return members(right, 1) | members(right | wild, 1) | members(wild | self.json) | self.json

    def patching(self, media_types: list[str], bodies: Strategy) -> Strategy:
        kinds = st.sampled_from(media_types * 12 + ["text/plain", JSON_PATCH, "application/json; charset=latin-1"])
        versions = st.sampled_from([{}] * 9 + [{"If-Match": value} for value in ('"1"', "*", "x", 'W/"1"', '"' + "9" * 30 + '"')])
        return st.builds(
            lambda task_id, kind, body, headers: Case("PATCH", f"/tasks/{task_id}", body, {**headers, "Content-Type": kind}),
            self.task_ids, kinds, self.bodies(bodies), versions,
        )  # fmt: skip

    def many(self) -> Strategy:
        texts = self.bodies(self.filters).map(lambda body: quote(body))
        rest = st.sampled_from(["", "", "&dry_run=true", "&expect=5", "&expect=x"])
        changing = st.builds(
            lambda text, more, body: Case("PATCH", f"/tasks?where={text}{more}", body, {"Content-Type": JSON}),
            texts, rest, self.bodies(self.changes()),
        )  # fmt: skip
        counting = texts.map(lambda text: Case("DELETE", f"/tasks?where={text}&dry_run=true"))  # or nothing would be left
        return changing | counting

    def targets(self) -> dict[str, Strategy]:
        """What is fuzzed, by name."""
        return {
            "GET /tasks?where=": self.listing(),
            "POST /tasks/search": self.search(),
            "PATCH, DELETE /tasks?where=": self.many(),
            "PATCH, fields": self.patching([JSON], self.changes()),
            "PATCH, merge patch": self.patching([MERGE_PATCH], self.changes()),
            "PATCH, JSON Patch": self.patching([JSON_PATCH], self.operations()),
        }
