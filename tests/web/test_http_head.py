"""Which heads of requests are refused."""

import pytest

from taskapi.web.http_head import NOT_ONE_HOST, RefusedHead, check_head

HOST = (b"host", b"a")


@pytest.mark.parametrize("hosts", [0, 2])
def test_a_request_has_one_host(hosts: int) -> None:
    with pytest.raises(RefusedHead) as caught:
        check_head([HOST] * hosts, 100, "1.1")
    assert caught.value.args == NOT_ONE_HOST


@pytest.mark.parametrize(("hosts", "version"), [(0, "1.0"), (2, "1.0"), (1, "1.1")])
def test_only_http_1_1_demands_a_host(hosts: int, version: str) -> None:
    check_head([HOST] * hosts, 100, version)
