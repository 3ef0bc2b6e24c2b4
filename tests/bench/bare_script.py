"""The bare script: gives many memories new texts once, as fast as an able engineer can write it.

It uses the openai client with base64 vectors, 256 texts a request, some requests in flight, and a FLAT index. One
pipelined Lua script a memory checks the version, sets text, hash, version and vector, and adds a history entry. There
are no job records, locks, retries or idempotency keys. Vectors are never turned into Python floats.

Prints {"updates": …, "seconds": …}. The clock runs over reading, embedding and committing. It excludes filling the
store before, and checking every memory and its history afterwards.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import os
import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jiter
import openai
import redis

MODEL, DIMENSIONS = "text-embedding-3-small", 1536
TEXTS_A_REQUEST = 256
COMMIT = """
if redis.call('HGET', KEYS[1], 'version') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'memory', ARGV[3], 'hash', ARGV[4], 'version', ARGV[2], 'vector', ARGV[5])
redis.call('XADD', KEYS[2], '*', 'version', ARGV[2], 'old_memory', ARGV[6], 'new_memory', ARGV[3])
return 1
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prefix", required=True, help="of the keys and the index; may be empty")
    parser.add_argument("--provider", required=True)
    parser.add_argument("--in-flight", type=int, required=True)
    parser.add_argument("--texts", type=Path, required=True, help="JSON: the new text by memory id")
    given = parser.parse_args()
    texts = json.loads(given.texts.read_text())
    script = Script(os.environ["BENCH_REDIS"], given.prefix, given.provider)
    script.fill(list(texts))
    seconds = script.update(texts, given.in_flight)
    script.check(texts)
    print(json.dumps({"updates": len(texts), "seconds": seconds}))


class Script:
    def __init__(self, redis_url: str, prefix: str, base_url: str) -> None:
        self.prefix = prefix
        self.redis = redis.Redis.from_url(redis_url, protocol=2)
        self.provider = openai.OpenAI(api_key="bench", base_url=base_url, max_retries=0)
        self.commit = self.redis.script_load(COMMIT)

    def memory_key(self, memory_id: str) -> str:
        return f"{self.prefix}bare:memory:{memory_id}"

    def history_key(self, memory_id: str) -> str:
        return f"{self.prefix}bare:history:{memory_id}"

    def fill(self, ids: list[str]) -> None:
        vector = ("vector", "VECTOR", "FLAT", 6, "TYPE", "FLOAT32", "DIM", DIMENSIONS, "DISTANCE_METRIC", "COSINE")
        prefix = ("FT.CREATE", f"{self.prefix}bare", "PREFIX", 1, self.memory_key(""), "SCHEMA", "user_id", "TAG")
        self.redis.execute_command(*prefix, *vector)
        for first in range(0, len(ids), 1_000):
            pipeline = self.redis.pipeline(transaction=False)
            for number, memory_id in enumerate(ids[first : first + 1_000], first):
                text = f"fact {memory_id} as it was; the person said so"
                fields = {"memory": text, "hash": digest(text), "version": 1, "user_id": f"user-{number // 100}"}
                vector = struct.pack("<f", 1.0) * DIMENSIONS  # its direction does not matter
                pipeline.hset(self.memory_key(memory_id), mapping={**fields, "vector": vector})
                pipeline.xadd(self.history_key(memory_id), {"version": 1, "new_memory": text})
            pipeline.execute()

    def update(self, texts: dict[str, str], in_flight: int) -> float:
        """Gives every memory its new text; seconds."""
        self.slots = threading.Semaphore(in_flight)
        # More threads than requests in flight, so that requests continue while some threads commit.
        with ThreadPoolExecutor(2 * in_flight) as pool:
            list(pool.map(self._embed, [["the warm-up"]] * 2 * in_flight))  # connections
            began = time.perf_counter()
            items = list(texts.items())
            chunks = [items[first : first + TEXTS_A_REQUEST] for first in range(0, len(items), TEXTS_A_REQUEST)]
            committed = sum(pool.map(self._chunk, chunks))
            seconds = time.perf_counter() - began
        assert committed == len(texts), f"{len(texts) - committed} updates were lost to another writer"
        return seconds

    def _embed(self, texts: list[str]) -> list[str]:
        with self.slots:
            answer = self.provider.embeddings.with_raw_response.create(
                input=texts, model=MODEL, dimensions=DIMENSIONS, encoding_format="base64"
            )
        # The client would build a pydantic object for each vector; the document is all that is needed. It brings jiter.
        return [item["embedding"] for item in jiter.from_json(answer.content)["data"]]

    def _chunk(self, items: list[tuple[str, str]]) -> int:
        reads = self.redis.pipeline(transaction=False)
        for memory_id, _ in items:
            reads.hmget(self.memory_key(memory_id), "version", "memory")
        found = reads.execute()
        vectors = self._embed([text for _, text in items])
        commits = self.redis.pipeline(transaction=False)
        for (memory_id, text), (version, old), vector in zip(items, found, vectors, strict=True):
            commits.execute_command(
                *("EVALSHA", self.commit, 2, self.memory_key(memory_id), self.history_key(memory_id)),
                *(version, int(version) + 1, text, digest(text), base64.b64decode(vector), old),
            )
        return sum(commits.execute())

    def check(self, texts: dict[str, str]) -> None:
        for memory_id, text in texts.items():
            version, memory, vector = self.redis.hmget(self.memory_key(memory_id), "version", "memory", "vector")
            history = self.redis.xrange(self.history_key(memory_id))
            assert (version, memory.decode(), len(history)) == (b"2", text, 2), memory_id
            assert history[-1][1][b"new_memory"].decode() == text, memory_id
            assert len(vector) == 4 * DIMENSIONS, memory_id


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


if __name__ == "__main__":
    main()
