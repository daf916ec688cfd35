"""The report, made by an analyst elsewhere, who has nothing but a URI."""

from pathlib import Path

import pytest

from tests.server.analysts import grant, service_with_rows
from tests.server.process import SERVE, completed

pytestmark = pytest.mark.real


def test_report_needs_an_analyst_s_account_only(tmp_path: Path) -> None:
    with service_with_rows(tmp_path / "data") as server:
        uri = grant(server.folder, "grace")
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        settings = {"MONGODB_URI": uri, "SECRET_KEY": "0123456789abcdef" * 4}
        status, said = completed(elsewhere, [SERVE[0], "report", "--owner", "ada"], **settings)
        assert (status, said.splitlines()[0]) == (0, "Tasks of ada"), said
        assert "1  of these in progress" in said
        assert "This week so far: 1 created, 0 completed" in said
        status, said = completed(elsewhere, [SERVE[0], "report", "--to", "report.html"], **settings)
        assert status == 0, said
        assert "What changes most: status" in (tmp_path / "report.html").read_text()
