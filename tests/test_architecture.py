"""Rules about the code itself, read from the code."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "taskapi"
MODULES = sorted(SOURCE.rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
MAX_WORDS = 8  # of the name of a test
# Each may use those before it.
PACKAGES = ("core", "db", "web", "audit", "mail", "accounts", "tasks", "events", "webhooks", "stats", "analytics")
ABOVE = {"wiring", "main", "cli"}  # where everything meets
BELOW_ROUTES = {"service", "documents", "repository", "recorder", "queue", "search"}


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(SOURCE).with_suffix("").parts)


def imports(path: Path) -> Iterator[str]:
    """The modules that a file imports, absolutely."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def own(path: Path) -> set[str]:
    """The modules of the service that a file imports, without ``taskapi.``"""
    return {name.removeprefix("taskapi.") for name in imports(path) if name.startswith("taskapi.")}


def test_only_the_connection_imports_motor() -> None:
    users = {name_of(path) for path in MODULES if any("motor" in name for name in imports(path))}
    assert users == {"db.connection"}


def test_there_are_these_packages_and_no_other() -> None:
    names = {path.stem for path in SOURCE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert names - {"__init__"} == ABOVE | set(PACKAGES)


def test_no_package_imports_one_above_it() -> None:
    assert not {
        (name_of(path), name.partition(".")[0])
        for number, package in enumerate(PACKAGES)
        for path in (SOURCE / package).rglob("*.py")
        for name in own(path)
        if name.partition(".")[0] not in {"__version__", *PACKAGES[: number + 1]}
    }


def test_folders_of_a_package_never_import_each_other() -> None:
    arrows = {
        (package, path.relative_to(SOURCE).parts[1], used[1])
        for package in PACKAGES
        for path in (SOURCE / package).glob("*/**/*.py")
        for used in (name.split(".") for name in own(path))
        if used[0] == package and len(used) > 1 and (SOURCE / package / used[1]).is_dir()
    }
    assert not {(package, one, other) for package, one, other in arrows if one != other and (package, other, one) in arrows}


@pytest.mark.parametrize("path", [path for path in MODULES if path.stem.rpartition("_")[2] in BELOW_ROUTES], ids=name_of)
def test_nothing_below_a_router_knows_http(path: Path) -> None:
    assert not [name for name in imports(path) if name.partition(".")[0] in {"fastapi", "starlette", "http", "httpx"}]
    assert not own(path) & {"web.problems", "web.middleware", "web.routing"}


@pytest.mark.parametrize("path", [*MODULES, *TESTS, *sorted((ROOT / "scripts").glob("*.py"))], ids=str)
def test_a_file_fits_the_head(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 300


@pytest.mark.parametrize("path", [path for path in TESTS if path.stem.startswith("test_")], ids=str)
def test_names_of_tests_are_short(path: Path) -> None:
    functions = [
        node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    names = [node.name.removeprefix("test_") for node in functions if node.name.startswith("test_")]
    assert [name for name in names if len(name.split("_")) > MAX_WORDS] == []


def has_something_to_say(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> bool:
    """Whether a name cannot say it all: a class, a route, or a function that raises."""
    if isinstance(node, ast.ClassDef) or any(isinstance(each, ast.Call) for each in node.decorator_list):
        return True
    return any(isinstance(inner, ast.Raise) for inner in ast.walk(node))


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_modules_classes_routes_and_what_raises_are_described(path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree)
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            plain_error = isinstance(node, ast.ClassDef) and name_of(path) in {"core.errors", "accounts.errors", "tasks.errors"}
            assert ast.get_docstring(node) or plain_error or not has_something_to_say(node), f"{name_of(path)}.{node.name}"


def is_repository(path: Path) -> bool:
    """Whether a file may touch a collection: those of db, of a package's storage, and the repositories."""
    return path.is_relative_to(SOURCE / "db") or path.parent.name == "storage" or path.stem.endswith("repository")


@pytest.mark.parametrize("path", [path for path in MODULES if not is_repository(path)], ids=name_of)
def test_collections_are_taken_in_repositories_only(path: Path) -> None:
    names = {node.attr for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)}
    assert not names & {"collection", "get_collection"}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_beanies_upserting_writes_are_not_used(path: Path) -> None:
    calls = [node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    assert not [call.attr for call in calls if isinstance(call, ast.Attribute) and call.attr in {"save", "upsert", "replace_one"}]
