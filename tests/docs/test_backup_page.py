"""Every command of docs/how-to/backup.md runs as it stands, and its words for the counts are those of the command."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

from emendo_client import MemoryClient
from emendo_client.testing.worker import environment
from emendo_ops.cli.app import run
from emendo_ops.cli.import_ import WORDS
from tests.support.inferring import started
from tests.support.intake import drain_all

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "how-to" / "backup.md").read_text(encoding="utf-8")
COMMANDS = [
    line.strip()
    for block in re.findall(r"^ *```sh\n(.*?)^ *```$", PAGE, re.MULTILINE | re.DOTALL)
    for line in block.splitlines()
]


def test_the_commands_work_in_their_order(emendo_settings, openai_server, tmp_path, monkeypatch, capfd):
    for name, value in environment(emendo_settings).items():
        if name.startswith("EMENDO_"):
            monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    services = started(emendo_settings)
    try:
        with MemoryClient(emendo_settings, project="shop") as client:
            client.add("lives by the sea", user_id="ana", infer=False)
            drain_all(services)
        mem0 = {"results": [{"id": "m1", "memory": "drinks tea", "user_id": "ana"}]}
        Path("memories.json").write_text(json.dumps(mem0), encoding="utf-8")
        told = {}
        for command in COMMANDS:
            program, *words = shlex.split(command)
            assert program == "emendo"
            code = run(words)
            told[command] = "".join(capfd.readouterr())
            # There is no worker here, which the doctor may say.
            assert code == 0 or words[0] == "doctor", (command, told[command])
        assert len(told) == 8
        assert "is complete" in told["emendo export backup.jsonl --all-projects --vectors --resume"]
        assert "1 the same already" in told["emendo import shop.jsonl --project shop"]
        assert "1 created" in told["emendo import --from mem0 memories.json --project shop"]
        assert "the two planes agree" in told["emendo doctor --repair"]
        assert "2 looked at, 1 damaged" in told["emendo doctor --deep --all"]  # its vector is not made yet
        drain_all(services)
    finally:
        services.stop()


def test_the_words_of_the_report_are_explained():
    assert [f"| {word} |" in PAGE for word in WORDS.values()] == [True] * len(WORDS)
