"""All settings, one class. Each is read from the environment as `EMENDO_<NAME>`.

Relations between settings are checked when the object is made, so that a process refuses to start
rather than break a guarantee at night.
"""

from __future__ import annotations

import itertools
import os
import re
from typing import Any, Literal, Self
from urllib.parse import parse_qs, urlsplit, urlunsplit

import pydantic
from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from emendo_config.errors import ConfigurationError
from emendo_config.spaces import EmbeddingSpace
from emendo_config.urls import broker_beside, broker_problem, http_problem, redis_database, redis_problem

LOCAL_MODEL = "use-multilingual-v3"
LOCAL_DIMENSIONS = 512
OPENAI_MODEL = "text-embedding-3-small"
OPENAI_DIMENSIONS = 1536
# How alike two texts must be to say the same, by the model that embedded them. High, since a fact is lost when it is
# taken for another one: the local model gives 0.9968 to "prefers tea over coffee" and "prefers coffee over tea".
NEAR_DUPLICATE = 0.995
NEAR_DUPLICATES = {OPENAI_MODEL: 0.99, "text-embedding-3-large": 0.99, LOCAL_MODEL: 0.999}
_REDIS_URL = "redis://localhost:6379/0"


class Settings(BaseSettings):
    """Emendo's settings; `Settings()` reads the environment, keyword arguments win over it.

    Raises:
        ConfigurationError: a value is of the wrong form, or two values cannot hold together.
    """

    model_config = SettingsConfigDict(env_prefix="EMENDO_", frozen=True, extra="ignore")

    # Where things are.
    redis_url: str = Field(_REDIS_URL, repr=False, description="Data Redis with search, db 0.")
    broker_url: str = Field("", repr=False, description="Celery broker; default: the data Redis, db 1.")
    control_url: str = Field("", repr=False, description="Control plane (jobs); default: the data Redis.")
    key_prefix: str = Field(
        "emendo:", pattern=r"^[^{}\s]*$", description="What every key and the index alias begin with."
    )
    project: str = Field("default", description="The tenant this client works for.")
    redis_timeout: float = Field(5.0, gt=0, le=60, description="Seconds one Redis call may take.")
    redis_max_connections: int = Field(
        64, ge=1, description="Connections of a process to each Redis, for calls; as many more for who waits for jobs."
    )
    broker_timeout: float = Field(2.0, gt=0, le=30, description="Seconds ringing a shard's bell may take.")

    # Embedding.
    embedding_provider: Literal["", "openai", "local"] = Field(
        "", description="Default: openai when a key or base URL is set, else local."
    )
    embedding_model: str = Field("", description="Default: text-embedding-3-small (openai).")
    embedding_dimensions: int = Field(0, ge=0, le=16_384, description="Default: 1536 (openai), 512 (local).")
    embedding_base_url: str = Field(
        "",
        repr=False,
        description="Any OpenAI-compatible server. With a key it falls back to OPENAI_BASE_URL, then OpenAI.",
    )
    embedding_api_key: SecretStr = Field(SecretStr(""), description="Falls back to OPENAI_API_KEY.")
    embedding_timeout: float = Field(20.0, gt=0, le=120, description="Seconds one provider request may take.")
    embedding_max_inputs: int = Field(2_048, ge=1, le=2_048, description="Texts in one provider request.")
    embedding_max_tokens: int = Field(300_000, ge=1, description="Tokens in one provider request.")
    embedding_quick_retries: int = Field(
        2, ge=0, le=10, description="Retries inside a task before the job is put aside."
    )
    embedding_requests_per_minute: int | None = Field(
        None,
        ge=1,
        le=1_000_000_000,
        description="All workers together; default: as the provider says, and of both the lower counts.",
    )
    embedding_tokens_per_minute: int | None = Field(
        None,
        ge=1,
        le=1_000_000_000,
        description="All workers together; default: as the provider says, and of both the lower counts.",
    )

    embedding_lru_bytes: int = Field(64 << 20, ge=0, description="Vectors a process keeps of a space, in bytes.")
    embedding_cache_ttl: int = Field(3_600, ge=0, description="Seconds Redis keeps a text's vector; 0 keeps none.")
    embedding_cache_bytes: int = Field(64 << 20, ge=0, description="Vectors Redis keeps of a space, in bytes, about.")
    embedding_gather_ms: float = Field(5.0, ge=0, le=100, description="Small requests wait so long for one another.")
    embedding_parallel: int = Field(8, ge=1, le=64, description="Provider requests one worker makes at once.")

    maintenance_share: float = Field(
        0.5, gt=0, le=1, description="Share of the provider's limits that re-embedding may use; 1 shares all of them."
    )
    embedding_price: float | None = Field(
        None, ge=0, description="Of a million tokens, in your currency; the plan of a re-embedding shows its cost."
    )
    reembed_grace: float = Field(
        604_800.0, ge=0, description="Seconds the old vectors are kept after a re-embedding, for a rollback."
    )

    breaker_failures: int = Field(5, ge=1, description="Failures in a row that open the circuit breaker.")
    breaker_pause: float = Field(5.0, gt=0, description="Seconds a failing provider is left alone; doubles.")
    breaker_longest_pause: float = Field(60.0, gt=0, description="Longest such pause, in seconds.")

    # Index.
    index_algorithm: Literal["flat", "hnsw", "svs-vamana"] = Field("flat", description="A new store's index.")

    # Chat model.
    chat_base_url: str = Field(
        "",
        repr=False,
        description="Any OpenAI-compatible server. With a key it falls back to OPENAI_BASE_URL, then OpenAI.",
    )
    chat_model: str = Field("", description="Default: none; adds store messages as they are, merges wait for a person.")
    chat_api_key: SecretStr = Field(SecretStr(""), description="Falls back to OPENAI_API_KEY.")
    chat_timeout: float = Field(60.0, gt=0, le=170, description="Seconds one chat request may take.")
    inference_window_tokens: int = Field(
        6_000, ge=256, le=1_000_000, description="Tokens of conversation, or of memories, in one chat request, about."
    )
    inference_neighbours: int = Field(5, ge=1, le=50, description="Memories each new fact is held against.")
    inference_near_duplicate: float | None = Field(
        None,
        gt=0,
        le=1,
        description="Cosine similarity from which a new fact is a known one; default: by the embedding model.",
    )
    inference_max_deletes: int = Field(
        5, ge=0, description="Memories one inferred add deletes; further deletes wait for a person."
    )
    inference_redecisions: int = Field(
        2, ge=0, le=10, description="Times a fact is decided anew because its memory changed; then it is added."
    )
    inference_drains: int | None = Field(
        None, ge=1, description="Drains of a worker that may wait for the chat model; default: half its threads."
    )

    # Intake and drain.
    inbox_shards: int = Field(16, ge=1, le=1_024, description="Inbox streams; the same for clients and workers.")
    inference_shards: int = Field(16, ge=1, le=1_024, description="Streams of jobs that need the chat model.")
    bulk_shards: int = Field(8, ge=1, le=256, description="Streams of batch chunks: how many are worked at once.")
    maintenance_shards: int = Field(6, ge=1, le=256, description="Streams of maintenance work.")
    chunk_items: int = Field(256, ge=1, le=2_048, description="Items of a batch job worked together.")
    batch_idle: float = Field(300.0, gt=1, description="Seconds without items after which a batch job is closed.")
    drain_batch: int = Field(384, ge=1, le=2_048, description="Jobs one drain takes at a time.")
    drain_budget: float = Field(20.0, gt=0, description="Seconds one drain task runs before a successor takes over.")
    lease: float = Field(8.0, gt=0.2, description="Seconds a silent worker keeps its shards and locks.")
    ring_ttl: float = Field(5.0, gt=0.2, description="Seconds a rung bell waits for a drain before it is rung again.")
    sweep_interval: float = Field(1.0, gt=0, description="Seconds between two looks of the sweeper.")
    poison_deliveries: int = Field(5, ge=2, description="Deliveries of an inbox entry before it is dead-lettered.")

    # Jobs.
    task_soft_time_limit: int = Field(120, ge=1, description="Seconds; a Celery task is asked to stop.")
    task_time_limit: int = Field(180, ge=2, description="Seconds; a Celery task is killed.")
    visibility_timeout: int = Field(1_800, ge=3, description="Seconds until the broker redelivers an unacked message.")
    job_ttl: int = Field(86_400, ge=4, description="Seconds a finished job's record and applied marks are kept.")
    max_attempts: int = Field(8, ge=1, description="Attempts before a job is dead-lettered.")
    retry_base: float = Field(1.0, gt=0, description="Seconds before the second attempt; doubles each time.")
    retry_max: float = Field(300.0, gt=0, description="Longest pause between two attempts, in seconds.")
    feed_length: int = Field(100_000, ge=0, description="Changes the feed keeps, about.")
    task_events: bool = Field(True, description="Send each job's events to Flower under its own id and name.")

    # What `consistency="strong"` waits for, beyond the commit.
    strong_fsync: bool = Field(False, description="Wait until the commit is in the append-only file (WAITAOF).")
    strong_replicas: int = Field(0, ge=0, le=16, description="Replicas that must have the commit (WAIT, WAITAOF).")
    # With appendfsync everysec Redis may take two seconds.
    strong_timeout: float = Field(3.0, gt=0, le=30, description="Seconds to wait for them before trying again.")

    # Limits on what callers may send.
    max_text_chars: int = Field(32_000, ge=1, description="Longest memory text, in characters.")
    max_metadata_bytes: int = Field(16_384, ge=2, description="Largest metadata, as UTF-8 JSON.")
    max_messages: int = Field(1_000, ge=1, description="Most messages in one add.")

    # Flower.
    flower_user: str = Field("emendo", description="Flower's user name.")
    flower_password: SecretStr = Field(SecretStr(""), description="Flower's password; `emendo up` makes one.")

    # Logging.
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="Least level written.")
    log_format: Literal["text", "json"] = Field("text", description="One line of text, or one JSON object, per event.")

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except pydantic.ValidationError as error:
            problems = "; ".join(
                f"EMENDO_{'_'.join(str(part) for part in item['loc']).upper()}: {item['msg']}"
                for item in error.errors(include_input=False, include_url=False)
            )
            raise ConfigurationError(
                f"invalid settings: {problems}", suggestion="see docs/reference/settings.md"
            ) from None

    @model_validator(mode="before")
    @classmethod
    def _fill_defaults(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Settings that follow from others; an empty environment variable counts as not set."""
        values = {name: _trimmed(name, value) for name, value in values.items()}
        values = {name: value for name, value in values.items() if value not in ("", None)}
        redis_url = values.get("redis_url", _REDIS_URL)
        if isinstance(redis_url, str):  # what is none pydantic refuses
            _require_usable("EMENDO_REDIS_URL", redis_problem(redis_url), "redis://host:6379/0")
            values.setdefault("control_url", redis_url)
            if "broker_url" not in values:
                values["broker_url"] = _default_broker(redis_url)
        values.setdefault("embedding_api_key", os.environ.get("OPENAI_API_KEY", "").strip())
        values.setdefault("chat_api_key", os.environ.get("OPENAI_API_KEY", "").strip())
        for kind in ("embedding", "chat"):
            if values[f"{kind}_api_key"] and values.get(f"{kind}_provider") != "local":
                # The openai library would take it in any case, and nobody be told.
                values.setdefault(f"{kind}_base_url", os.environ.get("OPENAI_BASE_URL", "").strip())
        remote = values["embedding_api_key"] or values.get("embedding_base_url")
        values.setdefault("embedding_provider", "openai" if remote else "local")
        local = values["embedding_provider"] == "local"
        values.setdefault("embedding_model", LOCAL_MODEL if local else OPENAI_MODEL)
        values.setdefault("embedding_dimensions", LOCAL_DIMENSIONS if local else OPENAI_DIMENSIONS)
        return values

    @model_validator(mode="after")
    def _check_relations(self) -> Self:
        ascending = (
            ("drain_budget", self.drain_budget),
            ("task_soft_time_limit", self.task_soft_time_limit),
            ("task_time_limit", self.task_time_limit),
            ("visibility_timeout", self.visibility_timeout),
            ("job_ttl", self.job_ttl),
        )
        for (low, low_value), (high, high_value) in itertools.pairwise(ascending):
            _require(
                low_value < high_value,
                f"EMENDO_{low.upper()} ({low_value}) must be below EMENDO_{high.upper()} ({high_value})",
                "otherwise a job can run twice at once, or its record can vanish while it is still worked on",
            )
        _require(
            self.retry_max < self.visibility_timeout,
            f"EMENDO_RETRY_MAX ({self.retry_max}) must be below EMENDO_VISIBILITY_TIMEOUT ({self.visibility_timeout})",
            "a longer pause would be redelivered by the broker while it waits",
        )
        _require(
            self.retry_base <= self.retry_max,
            f"EMENDO_RETRY_BASE ({self.retry_base}) must not be above EMENDO_RETRY_MAX ({self.retry_max})",
            "lower the first or raise the second",
        )
        _require(
            self.sweep_interval < self.lease,
            f"EMENDO_SWEEP_INTERVAL ({self.sweep_interval}) must be below EMENDO_LEASE ({self.lease})",
            "otherwise a dead worker is noticed too late",
        )
        _require(
            not (self.strong_fsync or self.strong_replicas) or self.strong_timeout < self.redis_timeout,
            f"EMENDO_STRONG_TIMEOUT ({self.strong_timeout}) must be below EMENDO_REDIS_TIMEOUT ({self.redis_timeout})",
            "the wait is one call to Redis; lower the first or raise the second",
        )
        if self.embedding_provider == "local":
            _require(
                (self.embedding_model, self.embedding_dimensions) == (LOCAL_MODEL, LOCAL_DIMENSIONS),
                f"the local embedder is {LOCAL_MODEL} with {LOCAL_DIMENSIONS} dimensions; "
                f"got {self.embedding_model} with {self.embedding_dimensions}",
                "unset EMENDO_EMBEDDING_MODEL and EMENDO_EMBEDDING_DIMENSIONS, or set OPENAI_API_KEY "
                "or EMENDO_EMBEDDING_BASE_URL to use a provider",
            )
        return self

    @model_validator(mode="after")
    def _check_addresses(self) -> Self:
        database = redis_database(self.redis_url)
        _require(
            database == 0,
            f"EMENDO_REDIS_URL must name database 0, not {database}",
            "Redis search indexes database 0 only",
        )
        if self.control_url != self.redis_url:  # which was looked at before the others were made of it
            _require_usable("EMENDO_CONTROL_URL", redis_problem(self.control_url), "redis://host:6379/0")
        _require_usable(
            "EMENDO_BROKER_URL", broker_problem(self.broker_url), "redis://host:6379/1 or amqp://host:5672//"
        )
        for name, url, key in (
            ("embedding", self.embedding_base_url, self.embedding_api_key.get_secret_value()),
            ("chat", self.chat_base_url, self.chat_api_key.get_secret_value()),
        ):
            base_url = f"EMENDO_{name.upper()}_BASE_URL, or OPENAI_BASE_URL in its place,"
            _require_usable(base_url, http_problem(url) if url else None, "https://host/v1")
            _require(
                key.isascii() and key.isprintable(),
                f"EMENDO_{name.upper()}_API_KEY, or OPENAI_API_KEY in its place, is not of printable ASCII characters",
                "copy the key once more; no HTTP header can carry another character",
            )
        return self

    @property
    def has_chat_model(self) -> bool:
        """True when there is a chat model to ask."""
        return bool(self.chat_model)

    @property
    def near_duplicate(self) -> float:
        """The cosine similarity from which a new fact is taken for one that is known."""
        given = self.inference_near_duplicate
        return given if given is not None else NEAR_DUPLICATES.get(self.embedding_model, NEAR_DUPLICATE)

    @property
    def space(self) -> EmbeddingSpace:
        """The embedding space these settings write to."""
        return EmbeddingSpace(self.embedding_provider, self.embedding_model, self.embedding_dimensions)


_UNREADABLE = "(unreadable URL)"


def redact_url(url: str) -> str:
    """The URL, or several with a `;` between them, without user name, password and query, fit for a log.

    One that nobody can read is not shown at all.
    """
    several = re.split(r";\s*(?=[A-Za-z][\w+.-]*://)", url)  # a password may have one in it, too
    if len(several) > 1:
        return ";".join(map(redact_url, several))
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return _UNREADABLE
    host = f"[{host}]" if ":" in host else host
    shown = urlunsplit(parts._replace(netloc=f"{host}:{port}" if port else host, query="", fragment=""))
    return _UNREADABLE if "@" in shown else shown  # something of a user or password is left


def _require(held: bool, problem: str, suggestion: str) -> None:
    if not held:
        raise ConfigurationError(problem, suggestion=suggestion)


def _require_usable(name: str, problem: str | None, example: str) -> None:
    _require(
        problem is None,
        f"{name} cannot be used: {problem}",
        f"write it like {example}; percent-encode special characters of the password",
    )


def _trimmed(name: str, value: Any) -> Any:
    """A file with a secret ends with a newline, which is part of no URL and no key."""
    if not name.endswith(("_url", "_api_key")):
        return value
    text = value.get_secret_value() if isinstance(value, SecretStr) else value
    return text.strip() if isinstance(text, str) else text


def _default_broker(redis_url: str) -> str:
    parts = urlsplit(redis_url)
    _require(
        not {"username", "password"} & parse_qs(parts.query).keys(),
        "EMENDO_BROKER_URL is needed when EMENDO_REDIS_URL has user name or password behind a question mark",
        "write them before the host: redis://user:password@host:6379/0",
    )
    _require(
        parts.scheme != "unix",
        "EMENDO_BROKER_URL is needed when EMENDO_REDIS_URL is a unix socket",
        "set it to redis+socket:///path/to/redis.sock?virtual_host=1",
    )
    return broker_beside(redis_url, 1)
