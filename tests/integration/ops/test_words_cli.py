"""The command line's words: texts that look like options, missing scopes, terminals that know ASCII only."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from emendo_client.testing.worker import environment

TEXT = "crème — 東京 😀"
ASCII = {"LANG": "C", "LC_ALL": "C", "PYTHONIOENCODING": "ascii"}


# One process for several commands, since each start of Python takes a second.
COMMANDS = """
import json, sys
from emendo_ops.cli.app import run
for words in json.loads(sys.argv[1]):
    code = run(words)
    sys.stdout.flush(), sys.stderr.flush()
    sys.stdout.buffer.write(b"\\0%d\\1" % code)
    sys.stdout.buffer.flush()
"""


def in_a_terminal(settings, encoding, *commands):
    """The exit code and the output of each command, whose output has this encoding."""
    done = subprocess.run(
        [sys.executable, "-c", COMMANDS, json.dumps(commands)],
        env={**environment(settings), **encoding},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=100,
        check=False,
    )
    assert b"Traceback" not in done.stdout, done.stdout.decode()
    *parts, rest = done.stdout.decode(encoding["PYTHONIOENCODING"]).split("\1")
    assert (rest, len(parts)) == ("", len(commands))
    return [(int(code), said) for said, _, code in (part.partition("\0") for part in parts)]


@pytest.mark.parametrize("text", ["-5 degrees", "-5", "-.5 is cold", "- milk", "-height matters", "--- a line"])
def test_a_text_may_begin_with_a_minus_sign(cli, emendo_worker, text):
    code, out, err = cli(emendo_worker, "add", text, "--user", text.encode().hex(), "--no-infer", "--json")
    assert code == 0, err
    assert json.loads(out)["results"][0]["memory"] == text
    code, out, err = cli(emendo_worker, "search", "--limit", "1", text, "--user", text.encode().hex(), "--json")
    assert code == 0, err
    assert [hit["memory"] for hit in json.loads(out)] == [text]


def test_a_text_that_cannot_be_told_from_an_option_is_explained(cli, emendo_worker):
    code, _, err = cli(emendo_worker, "add", "-ve", "--user", "ana")
    assert (code, "goes last, behind --: emendo add" in err) == (2, True), err
    code, out, _ = cli(emendo_worker, "add", "--user", "ana", "--no-infer", "--json", "--", "-ve")
    assert (code, json.loads(out)["results"][0]["memory"]) == (0, "-ve")
    code, _, err = cli(emendo_worker, "add", "-5 degrees", "-6 degrees")
    assert (code, "unexpected extra argument (-6 degrees)" in err) == (2, True), ascii(err)
    code, _, err = cli(emendo_worker, "add", "x", "--usr", "ana")
    assert (code, "--user" in err, "behind --" in err) == (2, True, False), err


def test_a_number_behind_an_option_is_its_value(cli, emendo_worker):
    code, _, err = cli(emendo_worker, "add", "x", "--user", "ana", "--no-infer", "--timeout", "-1")
    assert (code, "-1 is no number of seconds from 0" in err) == (2, True), err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("add", "x"), "Give --user, --agent or --run with an id"),
        (("search", "x"), "or --all-users to search the whole project"),
        (("get", "nothing"), "emendo restore brings"),
        (("get", "no id"), "MEMORY_ID is malformed"),
        (("update", "nothing"), "give --text, --metadata or both"),
        (("update", "nothing", "--text", "x"), "of this project gave"),
        (("add", "x", "--user", ""), "--user is empty"),
        (("jobs", "--limit", "0"), "--limit is 0"),
        (("conflicts", "show", "nothing"), "emendo conflicts lists"),
        (("restore", "nothing", "--version", "0"), "--version is 0"),
    ],
)
def test_errors_name_options_and_commands_and_no_calls_of_python(cli, emendo_worker, words, says):
    code, out, err = cli(emendo_worker, *words)
    said = out + err
    assert code
    assert says in said, said
    assert not any(python in said for python in ("None", "=True", "_id", "()", "client.")), said


@pytest.mark.parametrize(
    "encoding",
    [
        pytest.param(ASCII, id="ascii", marks=pytest.mark.slow),
        pytest.param({"PYTHONIOENCODING": "latin-1"}, id="latin-1", marks=pytest.mark.slow),
    ],
)
def test_no_text_ends_a_command_in_a_terminal_that_cannot_show_it(emendo_worker, encoding):
    user = f"user of {encoding['PYTHONIOENCODING']}"
    [(code, said)] = in_a_terminal(
        emendo_worker,
        encoding,
        ("add", TEXT, "--user", user, "--no-infer", "--metadata", '{"à": "é"}', "--json"),
    )
    assert code == 0
    added = json.loads(said)["results"][0]
    assert added["memory"] == TEXT
    memory_id = added["memory_id"]
    shows = {
        ("search", "東京", "--user", user): "\\u2014",
        ("search", "東京", "--user", user, "--json"): "\\u6771",
        ("get", memory_id): "\\U0001f600",
        ("history", memory_id): "\\u6771",
        ("project", "rules", "set", "--instructions", TEXT): "\\u6771",
        ("project", "rules"): "\\u6771",
        ("diagnose", memory_id): memory_id,
        ("jobs",): "add succeeded",
        ("dead",): "",
        ("conflicts",): "waiting",
        ("doctor",): "broker",
        ("delete", memory_id): "DELETE",
        ("project", "rules", "set", "--instructions", ""): "none",
        ("eval", "inference", "--only", "東京"): "\\u6771",
        ("bench", "--only", "東京"): "\\u6771",
        ("add", TEXT, f"--{TEXT}"): "\\u6771",
    }
    answers = dict(zip(shows, in_a_terminal(emendo_worker, encoding, *shows), strict=True))
    for words, part in shows.items():
        assert part in answers[words][1], answers[words]
    assert [code for code, _ in answers.values()] == [0] * 13 + [2] * 3
    assert json.loads(answers["search", "東京", "--user", user, "--json"][1])[0]["memory"] == TEXT
