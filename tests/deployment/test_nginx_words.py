"""What nginx says by itself, in the words of the API."""

import re
from http import HTTPStatus

from taskapi.core.errors import BodyTooLarge
from taskapi.web import problems
from tests.deployment.nginx import SNIPPETS
from tests.deployment.test_nginx import LIMIT


def test_messages_of_nginx_match_those_of_api() -> None:
    text = (SNIPPETS / "http.conf").read_text()
    tables = {
        name: dict(re.findall(r'^\s+(\d{3}) "?(.*?)"?;$', body, re.MULTILINE))
        for name, body in re.findall(r"map \$status \$taskapi_(\w+) \{\n(.*?)\n\}", text, re.DOTALL)
    }
    renamed = {413, 414}  # by Python 3.13, after RFC 9110
    for status, title in tables["title"].items():
        assert int(status) in renamed or title == HTTPStatus(int(status)).phrase
    for number, sentence in problems.DETAILS.items():
        assert tables["problem"][str(number)] == HTTPStatus(number).name.lower()
        assert tables["sentence"][str(number)] == sentence
    assert tables["problem"].keys() == tables["title"].keys()
    assert tables["problem"]["413"] == BodyTooLarge.code
    assert tables["sentence"]["413"].replace("$taskapi_largest", str(LIMIT)) == BodyTooLarge(LIMIT).detail
