"""The local embedder: real weights, related texts near, no network."""

from __future__ import annotations

import array
import subprocess
import sys

import pytest

from emendo_client.providers.embeddings import create_embedder
from emendo_config import Settings


def similarity(one: bytes, other: bytes) -> float:
    return sum(a * b for a, b in zip(array.array("f", one), array.array("f", other), strict=True))


async def test_it_finds_meaning_in_several_languages(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    embedder = create_embedder(Settings(embedding_provider="local"))
    embedder.prepare()
    fact = "I enjoy seafood, especially sushi."
    vectors = embedder.embed(
        [fact, "Which fish dishes do you love?", "My bike has a red basket.", "x" * 40_000]
    ).vectors
    assert [len(vector) for vector in vectors] == [4 * 512] * 4
    assert similarity(vectors[0], vectors[1]) > similarity(vectors[0], vectors[2])
    again = await embedder.embed_async([fact])
    assert similarity(vectors[0], again.vectors[0]) > 0.999
    embedder.close()


@pytest.mark.slow
def test_once_prepared_it_loads_nothing_more_for_its_first_text():
    program = """
import sys
from emendo_client.providers.embeddings.local import LocalEmbedder

opened = []
embedder = LocalEmbedder()
embedder.prepare()
sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event in ("open", "import") else None)
embedder.embed(["I like fish."])
print(opened)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=100, check=True)
    assert done.stdout.strip() == "[]"
