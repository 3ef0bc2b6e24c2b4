"""mem0's own `Memory.update` in threads, over memories that exist; run by the peers' interpreter, without a network.

Prints {"updates": …, "seconds": …}. The memories are written before in mem0's own layout: adding them through mem0
would take longer than measuring. Without spaCy mem0 links no entities on an update, which is its fastest way.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import struct
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

DIMENSIONS, COLLECTION = 1536, "bench"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--provider", required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--texts", type=Path, required=True, help="JSON: the new text by memory id")
    given = parser.parse_args()
    texts = json.loads(given.texts.read_text())
    with tempfile.TemporaryDirectory(prefix="mem0-") as directory:
        # Read when mem0 is imported.
        os.environ.update(MEM0_TELEMETRY="False", MEM0_DIR=directory, OPENAI_API_KEY="bench", NO_PROXY="127.0.0.1")
        memory = construct(os.environ["BENCH_REDIS"], given.provider, f"{directory}/history.db")
        fill(memory, list(texts))
        seconds = update(memory, texts, given.threads)
        check(memory, texts)
    print(json.dumps({"updates": len(texts), "seconds": seconds}))


def construct(redis_url: str, base_url: str, history: str):
    from mem0 import Memory

    provider = {"api_key": "bench", "openai_base_url": base_url}
    store = {"redis_url": redis_url, "collection_name": COLLECTION, "embedding_model_dims": DIMENSIONS}
    embedder = {**provider, "model": "text-embedding-3-small", "embedding_dims": DIMENSIONS}
    return Memory.from_config(
        {
            "vector_store": {"provider": "redis", "config": store},
            "embedder": {"provider": "openai", "config": embedder},
            "llm": {"provider": "openai", "config": {**provider, "model": "unused"}},  # an update asks no model
            "history_db_path": history,
        }
    )


def fill(memory, ids: list[str]) -> None:
    pipeline = memory.vector_store.client.pipeline(transaction=False)
    for number, memory_id in enumerate(ids):
        text = f"fact {memory_id} as it was; the person said so"
        fields = {
            "memory_id": memory_id,
            "hash": hashlib.md5(text.encode()).hexdigest(),
            "memory": text,
            "created_at": int(time.time()),
            "user_id": f"user-{number // 100}",
            "metadata": json.dumps({"source": "bench"}),
            "embedding": struct.pack("<f", 1.0) * DIMENSIONS,
        }
        pipeline.hset(f"mem0:{COLLECTION}:{memory_id}", mapping=fields)
    pipeline.execute()


def update(memory, texts: dict[str, str], threads: int) -> float:
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(memory.embedding_model.embed, ["the warm-up"] * threads))  # connections
        began = time.perf_counter()
        list(pool.map(lambda item: memory.update(item[0], text=item[1]), texts.items()))
        return time.perf_counter() - began


def check(memory, texts: dict[str, str]) -> None:
    for memory_id, text in texts.items():
        assert memory.get(memory_id)["memory"] == text, memory_id
        assert [row["event"] for row in memory.history(memory_id)] == ["UPDATE"], memory_id


if __name__ == "__main__":
    main()
