"""The results of a benchmark as text, and their place in docs/performance.md."""

import os
import platform
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
END = "<!-- end -->"
WIDTH = 130


@dataclass
class Table:
    """Rows under their headings. The first ``texts`` columns are texts, the others numbers."""

    headings: Sequence[str]
    rows: list[Sequence[object]] = field(default_factory=list)
    texts: int = 1

    def __str__(self) -> str:
        rule = [("---" if number < self.texts else "---:") for number in range(len(self.headings))]
        return "\n".join(f"| {' | '.join(map(str, row))} |" for row in (self.headings, rule, *self.rows))


@dataclass
class Result:
    """What a benchmark found: tables, sentences that explain them, and the bars that were missed."""

    tables: list[Table]
    sentences: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


def describe_machine() -> str:
    """The processor, the cores, the memory and the kernel."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    return f"{model}, {os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()} {platform.release()}"


def render(result: Result, command: str, versions: Sequence[str]) -> str:
    """The tables, what they mean, and how they were made."""
    made = f"`{command}` made this on {datetime.now(UTC).date()}. Machine: {describe_machine()}. Versions: {', '.join(versions)}."
    text = textwrap.fill(" ".join([*result.sentences, made]), WIDTH, break_long_words=False, break_on_hyphens=False)
    return "\n\n".join([*map(str, result.tables), text])


def require_section(page: Path, name: str) -> None:
    """Raises ValueError if ``page`` has no place for the results called ``name``."""
    _, begin, rest = page.read_text().partition(f"<!-- bench {name} -->\n")
    if not begin or END not in rest:
        raise ValueError(f"{page} has no lines <!-- bench {name} --> and {END}")


def write(page: Path, name: str, text: str) -> None:
    """Puts ``text`` in place of the results called ``name``; the rest of the page stays as it is."""
    before, begin, rest = page.read_text().partition(f"<!-- bench {name} -->\n")
    page.write_text(f"{before}{begin}\n{text}\n\n{END}{rest.partition(END)[2]}")
