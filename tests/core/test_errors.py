"""What callers read about values that Pydantic refuses."""

import pytest
from pydantic import TypeAdapter, ValidationError

from taskapi.core.errors import FieldError, field_errors
from taskapi.core.fields import CalendarDate


@pytest.mark.parametrize("day", ["2027-02-30", "2027-13-01", "9999-12-32"])
def test_there_is_no_such_day(day: str) -> None:
    with pytest.raises(ValidationError) as refused:
        TypeAdapter(CalendarDate).validate_python(day)
    assert field_errors(refused.value) == [FieldError("", "There is no such day", "date_from_datetime_parsing")]
