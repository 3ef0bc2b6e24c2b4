"""The OpenAPI document is good enough to generate a client from: a TypeScript one, compiled strictly, and run."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from tests.support.commands import output_of
from tests.support.gateway import make_key

ROOT = Path(__file__).resolve().parents[3]
STORY = ROOT / "tests" / "support" / "typescript"
INSTALLED = ROOT / ".typescript" / "node_modules"
TIMEOUT = 300.0
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(
        shutil.which("node") is None or not INSTALLED.is_dir(),
        reason="needs node 20 or newer, and npm's packages: make .typescript/.installed",
    ),
]


def run(folder: Path, *command: str, **environment: str) -> str:
    return output_of(command, folder, {**os.environ, **environment}, TIMEOUT)


@pytest.fixture
def folder(gateway, tmp_path) -> Path:
    """A folder with the story, the packages, and the client's types as they are now."""
    for name in ("package.json", "story.ts"):
        shutil.copy(STORY / name, tmp_path / name)
    (tmp_path / "node_modules").symlink_to(INSTALLED)
    with gateway.http() as http:
        (tmp_path / "openapi.json").write_text(http.get("/openapi.json").text, encoding="utf-8")
    generate = "node_modules/openapi-typescript/bin/cli.js"
    run(tmp_path, "node", generate, "openapi.json", "--output", "api.d.ts", "--default-non-nullable", "false")
    return tmp_path


def compiled(folder: Path) -> None:
    tsc = "node_modules/typescript/bin/tsc"
    run(folder, "node", tsc, "--strict", "--module", "nodenext", "--target", "es2022", "--types", "node", "story.ts")


def test_a_generated_client_tells_a_memorys_life(gateway, folder, openai_server):
    key, _ = make_key(gateway.settings, "typescript")
    compiled(folder)
    told = json.loads(run(folder, "node", "story.js", EMENDO_URL=gateway.url, EMENDO_KEY=key))
    assert told == {
        "first": "I dislike seafood.",
        "topic": "food",
        "created": False,
        "etag": '"1"',
        "stale": "412 VERSION_MISMATCH",
        "found": "I enjoy seafood.",
        "version": 2,
        "total": 1,
        "events": ["ADD", "UPDATE"],
        "malformed": "400 VALIDATION",
        "field": "query.limit",
        "gone": "404 MEMORY_NOT_FOUND",
    }


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ('messages: "I dislike seafood."', "messages: 1"),
        ('user_id: "ana", infer', 'userId: "ana", infer'),
        ('"/api/v1/memories/search"', '"/api/v1/memories/find"'),
        ("limit: 5", 'order: "newest"'),
        ("malformed.error!.errors", "malformed.error!.problems"),
        ("memory.metadata.topic", "memory.metdata.topic"),
    ],
)
def test_what_the_document_does_not_say_does_not_compile(folder, right, wrong):
    story = (folder / "story.ts").read_text(encoding="utf-8")
    assert right in story
    (folder / "story.ts").write_text(story.replace(right, wrong), encoding="utf-8")
    with pytest.raises(AssertionError, match=r"error TS"):
        compiled(folder)
