"""Log lines: one event, one line or object; extras become fields; exceptions are kept; configuration replaces."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime

import pytest

from emendo_config import Settings
from emendo_config.logs import configure_logging

NOISY = ("celery.app.trace", "celery.worker.strategy", "httpx", "httpx2", "httpcore", "httpcore2", "openai", "redisvl")


@pytest.fixture(autouse=True)
def _logging_as_it_was():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in NOISY}
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, before in levels.items():
        logging.getLogger(name).setLevel(before)


def formatter(form: str) -> logging.Formatter:
    configure_logging(Settings(log_format=form))
    (handler,) = logging.getLogger().handlers
    assert handler.formatter is not None
    return handler.formatter


def record(message: str = "drained", *arguments, error: BaseException | None = None, **extra) -> logging.LogRecord:
    info = (type(error), error, error.__traceback__) if error else None
    made = logging.getLogger("emendo.test").makeRecord(
        "emendo.test", logging.WARNING, __file__, 1, message, arguments, info, extra=extra
    )
    made.created = 1_800_000_000.5
    return made


def raised() -> LookupError:
    try:
        {}["lost"]
    except LookupError as error:
        return error
    raise AssertionError


def test_a_text_line_has_time_level_logger_event_and_fields():
    line = formatter("text").format(record("drained %d jobs", 3, shard=7, end="empty"))
    assert line == "2027-01-15T08:00:00.500+00:00 WARNING emendo.test: drained 3 jobs shard=7 end=empty"


def test_a_json_line_has_the_same_as_one_object():
    line = formatter("json").format(record("drained %d jobs", 3, shard=7, end="empty"))
    assert json.loads(line) == {
        "time": datetime.fromtimestamp(1_800_000_000.5, UTC).isoformat(),
        "level": "WARNING",
        "logger": "emendo.test",
        "event": "drained 3 jobs",
        "shard": 7,
        "end": "empty",
    }


def test_without_extras_there_are_no_fields():
    assert formatter("text").format(record()).endswith("emendo.test: drained")
    assert json.loads(formatter("json").format(record())).keys() == {"time", "level", "logger", "event"}


def test_an_exception_follows_its_text_line_as_a_traceback():
    first, *rest = formatter("text").format(record(error=raised(), shard=7)).splitlines()
    assert first.endswith("drained shard=7")
    assert rest[0] == "  Traceback (most recent call last):"
    assert rest[-1] == "  KeyError: 'lost'"


def test_an_exception_is_one_field_of_its_json_line():
    line = formatter("json").format(record(error=raised()))
    assert "\n" not in line
    exception = json.loads(line)["exception"]
    assert exception.startswith("Traceback")
    assert exception.endswith("KeyError: 'lost'")


def test_values_json_does_not_know_are_written_as_text():
    moment = datetime(2030, 1, 1, tzinfo=UTC)
    document = json.loads(formatter("json").format(record(at=moment, kind=LookupError, deep={"ü": [1]})))
    assert document["at"] == str(moment)
    assert document["kind"] == "<class 'LookupError'>"
    assert document["deep"] == {"ü": [1]}


@pytest.mark.parametrize("form", ["text", "json"])
def test_celerys_own_extra_is_left_out(form):
    """Celery passes a task's arguments as `data`; they are content."""
    assert "private" not in formatter(form).format(record(data={"args": "private"}))


def test_uvicorns_message_for_terminals_is_left_out():
    assert "color" not in formatter("json").format(record(color_message="\x1b[1mrunning\x1b[0m"))


def test_non_latin_text_is_readable_in_both_forms():
    for form in ("text", "json"):
        assert "größe=日本" in formatter(form).format(record("größe=%s", "日本"))


@pytest.mark.parametrize("name", ["event", "level", "logger", "time"])
def test_an_extra_never_takes_the_place_of_what_every_line_has(name):
    document = json.loads(formatter("json").format(record(**{name: "impostor"})))
    assert (document["event"], document["level"], document["logger"]) == ("drained", "WARNING", "emendo.test")
    assert document["time"].startswith("2027-01-15T08:00:00.5")


def test_a_value_with_a_line_break_makes_no_second_text_line():
    """One line of text per event, else a value could forge the next event."""
    line = formatter("text").format(record(reason="first\n2027-01-15 ERROR emendo.test: forged"))
    assert len(line.splitlines()) == 1


def test_configuring_twice_writes_each_event_once(capfd):
    configure_logging(Settings(log_format="text"))
    configure_logging(Settings(log_format="json"))
    logging.getLogger("emendo.test").warning("once", extra={"shard": 1})
    captured = capfd.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert json.loads(line)["shard"] == 1


@pytest.mark.parametrize(("level", "written"), [("DEBUG", True), ("INFO", True), ("WARNING", False), ("ERROR", False)])
def test_the_level_is_the_settings(level, written):
    configure_logging(Settings(log_level=level))
    assert logging.getLogger("emendo.test").isEnabledFor(logging.INFO) is written


@pytest.mark.parametrize("name", NOISY)
def test_libraries_that_print_requests_stay_quiet_even_when_debugging(name):
    configure_logging(Settings(log_level="DEBUG"))
    assert not logging.getLogger(name).isEnabledFor(logging.INFO)
    assert logging.getLogger(name).isEnabledFor(logging.WARNING)
