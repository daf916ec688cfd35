"""The steps of the service: documents of every earlier version come through them."""

from taskapi.main import MIGRATIONS


def test_numbers_have_no_gaps() -> None:
    assert [each.number for each in MIGRATIONS] == list(range(1, len(MIGRATIONS) + 1))


def test_names_are_unique() -> None:
    assert len({each.name for each in MIGRATIONS}) == len(MIGRATIONS)
