"""Rules about the documents of the repository. ``./scripts/check`` builds those in docs/, which checks their links."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OUTSIDE = sorted(ROOT.glob("*.md"))  # docs/ is checked by its build
CURRENT = [path for path in OUTSIDE if path.name != "CHANGELOG.md"]  # which names what there was
README_LINES = 130


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= README_LINES


@pytest.mark.parametrize("path", OUTSIDE, ids=lambda path: path.name)
def test_links_lead_to_files(path: Path) -> None:
    targets = re.findall(r"\]\((?!https?:|mailto:|#)([^)#]+)", path.read_text())
    assert [target for target in targets if not (ROOT / target).is_file()] == []


@pytest.mark.parametrize("path", [*CURRENT, *sorted((ROOT / "docs").rglob("*.md"))], ids=lambda path: str(path.relative_to(ROOT)))
def test_the_files_that_a_page_names_exist(path: Path) -> None:
    named = re.findall(r"`([\w./-]+/[\w.-]+\.(?:py|md|yml|conf|lock|service))`", path.read_text())
    assert [name for name in named if not any((root / name).exists() for root in (ROOT, ROOT / "taskapi"))] == []
