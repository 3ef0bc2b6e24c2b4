"""The doctor names a Redis that is too old for the scripts."""

from __future__ import annotations

import pytest

from emendo_ops.doctor.data_redis import check_version


@pytest.mark.parametrize(
    ("version", "state"),
    [("6.2.14", "fail"), ("5.0.7", "fail"), ("7.0.0", "ok"), ("8.2.1", "ok"), ("255.2.2", "ok")],
)
def test_an_old_redis_is_a_failure_that_says_what_to_use(version, state):
    found = check_version("redis://host:6379/0", {"redis_version": version})
    assert found.state == state
    assert version in found.found
    assert ("Redis 7" in found.mend) == (state == "fail")
