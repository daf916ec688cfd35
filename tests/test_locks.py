"""The lock files pin whatever pip would otherwise choose by itself."""

import importlib.metadata
import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
PINNED = re.compile(r"^([\w.-]+)(?:\[([^]]*)\])?==", re.MULTILINE)


def normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_locks_hold_names_versions_and_hashes_only() -> None:
    for lock in ROOT.glob("*.lock"):
        lines = [line.strip() for line in lock.read_text().splitlines() if line.strip() and not line.strip().startswith("#")]
        pattern = r"([a-zA-Z0-9._-]+(\[[a-z0-9,_-]+\])?==[^\s;]+( ; .*)? \\|--hash=sha256:[0-9a-f]{64}( \\)?)"
        assert [line for line in lines if not re.fullmatch(pattern, line)] == []


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock"])
def test_what_is_required_with_extras_is_pinned_so(lock: str) -> None:
    """With hashes, pip refuses a package with an extra that has no pin of its own as soon as there is a newer version."""
    found = PINNED.findall((ROOT / lock).read_text())
    pinned = {normalized(name): set(filter(None, extras.split(","))) for name, extras in found}
    assert len(pinned) > 20
    for package in importlib.metadata.distributions():
        if normalized(package.name) in pinned:
            for requirement in map(Requirement, package.requires or ()):
                is_asked_for = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
                if is_asked_for and requirement.extras:
                    assert requirement.extras <= pinned[normalized(requirement.name)], f"{package.name} needs {requirement}"
