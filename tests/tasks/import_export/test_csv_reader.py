"""The import of CSV: it restores an export, and accepts a table that people made or says what is wrong with it."""

import csv
import itertools
import random
from collections.abc import AsyncIterator
from io import StringIO
from typing import Any
from unicodedata import category, normalize

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from taskapi.core.errors import DomainError
from taskapi.tasks.import_export.csv_cells import COLUMNS, read_cells, write_cell
from taskapi.tasks.import_export.csv_reader import csv_records
from taskapi.tasks.import_export.records import MAX_BYTES, Record
from tests.client import Account, is_problem, wrong_fields
from tests.tasks.import_export.test_export import RICH, records
from tests.tasks.import_export.test_importer import count, tasks_of

pytestmark = pytest.mark.real

CSV = {"content-type": "text/csv"}
THEIR_OWN = {"id": "", "owner": "", "version": ""}


async def take(account: Account, text: str | bytes, query: str = "") -> dict[str, Any]:
    """Imports CSV. Returns the report without zero and empty values, and its errors as line, field and type."""
    answer = await account.post(f"/tasks/import{query}", content=text, headers=CSV)
    assert answer.status_code == 200, answer.text
    report: dict[str, Any] = answer.json()
    errors = [(error["line"], error["field"], error["type"]) for error in report["errors"]]
    return {name: value for name, value in {**report, "errors": errors}.items() if value}


async def refusal(account: Account, text: str | bytes) -> dict[str, str]:
    return wrong_fields(await account.post("/tasks/import", content=text, headers=CSV))


async def read(*chunks: bytes) -> list[Record | None]:
    async def parts() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    return [record async for record in csv_records(parts())]


async def test_what_one_account_exports_another_takes_in(ada: Account, bob: Account) -> None:
    texts = ["=1+1", "'=1", "''=1", "\t=x", "'plain", "-5\r\nend\r", " = 3", '"', ",;\t", "' =", "'", "\uff1d1", "[1]"]
    await ada.make_task(**RICH)
    await ada.make_task("done", status="done", tags=["a;b", "c,d", "[e"], links=["https://example.com/a,b;c"])
    lines = [{"title": f"text {text}", "description": text, "key": text} for text in texts]
    assert (await ada.post("/tasks/import", json=lines)).json()["created"] == len(texts)
    for options in ("", "&bom=true"):
        exported = await ada.get(f"/tasks/export?format=csv&sort=title{options}")
        report = await take(bob, exported.content)
        assert report["lines"] == len(texts) + 2
        assert "failed" not in report
        copy = (await bob.get("/tasks/export?format=csv&sort=title")).text
        theirs, mine = records(exported.text.removeprefix("\ufeff")), records(copy)
        assert [{**task, **THEIR_OWN} for task in mine] == [{**task, **THEIR_OWN} for task in theirs]
        for task in await tasks_of(bob):
            await bob.delete(f"/tasks/{task['id']}")


def test_text_in_a_cell_is_read_unchanged() -> None:
    for length in range(6):
        for letters in itertools.product("'= \ta", repeat=length):
            text = "".join(letters)
            values, faults = read_cells([("description", write_cell(text))])
            assert (values, faults) == ({"description": text}, [])


SIGNS = "=+-@\uff1d\uff0b\uff0d\uff20\ufe66"
INVISIBLE = "\u200b\ufeff\xad\u202e\u2066\u2060\x00\x0b\u3164\ufe0f\U000e0001\x85\u2028\xa0 "
NASTY = st.text(st.sampled_from(f"{SIGNS}{INVISIBLE},;\t\r\n'\"a1") | st.characters(exclude_categories=["Cs"]), max_size=20)


def looks_like_a_formula(piece: str) -> bool:
    """Whether a spreadsheet that skips white space, quotation marks and invisible characters may see a formula."""
    shown = [
        letter for letter in piece if category(letter) not in {"Cc", "Cf", "Zs", "Zl", "Zp"} and letter not in '"\u3164\ufe0f'
    ]
    return normalize("NFKC", "".join(shown))[:1] in set("=+-@")


def pieces(line: str) -> list[str]:
    """The pieces into which each separator splits a line, regardless of quotation marks."""
    return [piece for separator in ",;\t" for part in line.splitlines() for piece in part.split(separator)]


@given(NASTY, NASTY, st.lists(NASTY, max_size=3), st.dictionaries(NASTY, NASTY | st.integers(-5, 5), max_size=3))
@example("a;=1", ";\t\u200b=1", [";=1", "-1", "a;\uff1d1"], {"a": -1, "-1": ";+1"})
@example("'a;'=1", "\n- one\n- two", ['";=1'], {})
@example("'\t=1", "'\tx", [], {})
@settings(max_examples=500, deadline=None)
def test_pieces_are_never_formulas_and_text_round_trips(
    title: str, description: str, tags: list[str], metadata: dict[str, Any]
) -> None:
    names = ["id", "title", "description", "tags", "metadata"]
    text = StringIO()
    csv.writer(text).writerow([write_cell(value) for value in ("6b02", title, description, tags, metadata)])
    assert not [piece for piece in pieces(text.getvalue()) if looks_like_a_formula(piece)]
    cells = next(csv.reader(StringIO(text.getvalue(), newline=""), strict=True))
    assert not [cell for cell in cells if looks_like_a_formula(cell)]
    values, faults = read_cells(zip(names, cells, strict=True))
    expected = {"id": "6b02", "title": title, "description": description, "tags": tags, "metadata": metadata}
    assert ({"title": "", **values}, faults) == (expected, [])


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        ("'=1", "=1"),
        ("'\tx", "\tx"),
        ("' \t=x", " \t=x"),
        ("use '-a','-b'", "use '-a','-b'"),
        ("'plain", "'plain"),
        ("a;'=b", "a;'=b"),
    ],
)
def test_cells_of_older_exports_and_people_still_read(cell: str, text: str) -> None:
    assert read_cells([("description", cell)]) == ({"description": text}, [])


async def test_a_table_that_people_made_is_understood(ada: Account) -> None:
    table = (
        "\ufeffTags, TITLE ,due_date,priority,completed,links,metadata,checklist\r\n"
        'work; "home",A task,2027-01-31, 3,TRUE,https://example.com/a  https://example.com/b,"{""a"": 1}",\r\n'
        ",,,,,,,\r\n"
        "\r\n"
        '"[""a,b""]","Two\r\nlines, and ""quotes""",,,,,,"[{""text"": ""one""}]"'
    )
    assert await take(ada, table) == {"lines": 2, "created": 2}
    first, second = await tasks_of(ada)
    assert (first["title"], first["tags"], first["due_date"]) == ("A task", ["work", '"home"'], "2027-01-31")
    assert (first["priority"], first["status"], first["metadata"]) == (3, "done", {"a": 1})
    assert first["links"] == ["https://example.com/a", "https://example.com/b"]
    assert (second["title"], second["tags"]) == ('Two\r\nlines, and "quotes"', ["a,b"])
    assert [item["text"] for item in second["checklist"]] == ["one"]
    assert (second["priority"], second["status"]) == (1, "todo")


@pytest.mark.parametrize("separator", [",", ";", "\t"])
async def test_the_separator_is_that_of_the_first_line(ada: Account, separator: str) -> None:
    rows = [["title", "description"], ["one", "a,b;c\td"], ["two", '5" pipe']]
    text = StringIO()
    csv.writer(text, delimiter=separator).writerows(rows)
    assert await take(ada, text.getvalue()) == {"lines": 2, "created": 2}
    assert [[task["title"], task["description"]] for task in await tasks_of(ada)] == rows[1:]


async def test_an_empty_cell_empties_what_can_be_empty(ada: Account) -> None:
    await take(ada, "key,title,description,due_date,tags,priority,status\nk,one,text,2027-01-31,a,4,in_progress\n")
    assert await take(ada, "key,title,priority,status\nk,one,,\n") == {"lines": 1, "unchanged": 1}
    emptied = "key,title,description,due_date,tags,priority,status,completed_at,created_at\nk,one,,,,,,,\n"
    assert await take(ada, emptied) == {"lines": 1, "updated": 1}
    (task,) = await tasks_of(ada)
    assert (task["description"], task["due_date"], task["tags"]) == ("", None, [])
    assert (task["priority"], task["status"], task["version"]) == (4, "in_progress", 2)
    assert await take(ada, "key,title\n,two\n,two\n") == {"lines": 2, "created": 2}


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("title,color,deleted_at", {"color": "extra_forbidden", "deleted_at": "extra_forbidden"}),
        ("tags,description", {"title": "missing"}),
        ("title,tags,Title,tags ", {"title": "repeated_column", "tags": "repeated_column"}),
        ("title,", {"": "extra_forbidden"}),
        ("title|tags", {"title|tags": "extra_forbidden", "title": "missing"}),
        ("title," + "x" * 300, {"x" * 100: "extra_forbidden"}),
    ],
)
async def test_columns_that_no_task_has_are_named(ada: Account, header: str, expected: dict[str, str]) -> None:
    assert await refusal(ada, f"{header}\nA task,\n") == expected
    assert await count() == 0


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b"", "CSV begins with a line of column names, such as title,due_date,tags."),
        (b"\xef\xbb\xbf\r\n ,\n", "CSV begins with a line of column names, such as title,due_date,tags."),
        (b"title,gr\xfc\xdfe\nA task,x\n", "The first line is not CSV in UTF-8."),
        ("title,tags\nA task,\n".encode("utf-16"), "The first line is not CSV in UTF-8."),
        ("title,tags\nA task,\n".encode("utf-16-le"), "The first line is not CSV in UTF-8."),
        (b'"title\nA task\n', "The first line has unmatched quotation marks, or a carriage return outside of them."),
        (b"title,tags\rA task,\r", "The first line has unmatched quotation marks, or a carriage return outside of them."),
        (b"title," * 50_000, "The first line is not CSV in UTF-8."),
        (b"title," * 20_000, "The first line names more than 100 columns."),
    ],
    ids=lambda value: str(value)[:20],
)
async def test_unreadable_first_line_is_reported(ada: Account, body: bytes, detail: str) -> None:
    is_problem(await ada.post("/tasks/import", content=body, headers=CSV), 400, "malformed_import", detail)
    assert await count() == 0


async def test_a_wrong_record_stops_no_other(ada: Account) -> None:
    table = (
        b"title,description,priority,metadata\n"
        b'one,"two\nlines",1,{}\n'  # 2
        b"short,x\n"  # 4
        b"long,x,1,{},\n"  # 5
        b"\n"
        b"six,x,high,{}\n"  # 7
        b'seven,x,9,"{""a"""\n'  # 8
        b'eight,"x"y,1,{}\n'  # 9
        b"ni\xffne,x,1,{}\n"  # 10
        b"\x00ten,x,1,{}\n"  # 11
        b'big,"' + b"x\n," * 100_000 + b'",1,{}\n'  # 12
        b'"' + b"y" * 140_000 + b'",x,1,{}\n'  # 100013
        b"ab,x,1000000000,[]\n"
        b"last,x,1,{}\n"
        b"re\rturn,x,1,{}\n"  # 100016
        b'open,"x,1,{}\n'  # 100017
        b"inside,x,1,{}"
    )
    report = await take(ada, table)
    assert report["errors"] == [
        (4, "", "cell_count"),
        (5, "", "cell_count"),
        (7, "priority", "int_type"),
        (8, "metadata", "malformed_json"),
        (9, "", "malformed_csv"),
        (10, "", "malformed_csv"),
        (11, "title", "string_nul"),
        (12, "", "line_too_long"),
        (100_013, "title", "string_too_long"),
        (100_014, "title", "string_too_short"),
        (100_014, "priority", "less_than_equal"),
        (100_014, "metadata", "dict_type"),
        (100_016, "", "malformed_csv"),
        (100_017, "", "malformed_csv"),
    ]
    assert [report[name] for name in ("lines", "created", "failed")] == [14, 2, 12]
    assert [task["title"] for task in await tasks_of(ada)] == ["last", "one"]


async def test_a_table_is_the_same_however_it_comes() -> None:
    rng = random.Random(7)
    letters = ['"', '""', ",", ";", "\n", "\r\n", " ", "a", "ü", "\t"]
    for _ in range(60):
        rows = [["".join(rng.choices(letters, k=rng.randrange(8))) for _ in range(3)] for _ in range(8)]
        rows = [[f"t{key}", f"t{title}", description] for key, title, description in rows]
        text = StringIO()
        csv.writer(text, lineterminator=rng.choice(["\n", "\r\n"])).writerows([["key", "title", "description"], *rows])
        body = text.getvalue().encode()
        whole = await read(body)
        expected = [dict(zip(("key", "title", "description"), cells, strict=True)) for cells in rows]
        found = [record.value for record in whole if record]
        assert found == expected
        assert await read(*(body[place : place + 1] for place in range(len(body)))) == whole
        place = rng.randrange(len(body))
        assert await read(body[:place], b"", body[place:]) == whole


async def test_arbitrary_bytes_neither_break_it_nor_accumulate() -> None:
    rng = random.Random(3)
    for _ in range(300):
        body = b"title,key\n" + bytes(rng.choices(b'",\n\r;\x00\xff a\xc3\xbc', k=40))
        whole = await read(body)
        assert await read(*(body[place : place + 1] for place in range(len(body)))) == whole
        assert all(record is None or isinstance(record.value, dict) or record.faults for record in whole)
    with pytest.raises(DomainError):
        await read(b'"')
    (endless,) = await read(b'title\n"', *[b'x""' * 20_000] * 20)
    assert endless
    assert (endless.number, endless.size, endless.faults[0].type) == (2, MAX_BYTES, "line_too_long")


async def test_only_utf8_with_a_header_line_is_accepted(ada: Account) -> None:
    for kind in ("text/csv; charset=utf-8; header=present", 'Text/CSV; charset="UTF-8"', "text/csv"):
        answer = await ada.post("/tasks/import", content=b"title\nA task\n", headers={"content-type": kind})
        assert answer.json()["created"] == 1
    for kind in ("text/csv; charset=iso-8859-1", "text/csv; header=absent", "text/csv; charset=utf-16"):
        answer = await ada.post("/tasks/import", content=b"title\nA task\n", headers={"content-type": kind})
        is_problem(answer, 415, "unsupported_media_type", "Send the body as text/csv; charset=utf-8; header=present.")


async def test_a_table_has_the_limits_of_lines(ada: Account) -> None:
    answer = await ada.post("/tasks/import?dry_run=true", content=b"title\n" + b"x\n" * 100_001, headers=CSV)
    is_problem(answer, 413, "too_many_lines", "An import can have at most 100000 lines. Nothing was imported.")
    answer = await ada.post("/tasks/import", content=b"title\n" + b",\n" * 200_001, headers=CSV)
    is_problem(answer, 413, "too_many_lines")


def test_columns_are_those_of_the_export() -> None:
    assert COLUMNS[:3] == ("id", "title", "description")
