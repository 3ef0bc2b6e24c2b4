"""All settings in one class. Each is read from the environment as `EMENDO_<NAME>`.

Relations between settings are checked when the object is created: a process with invalid settings does not start.
"""

from __future__ import annotations

import itertools
import os
from typing import Any, Literal, Self
from urllib.parse import parse_qs, urlsplit

from pydantic import Field, SecretStr, ValidationInfo, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from emendo_config.embedding_space import EmbeddingSpace, InputForm
from emendo_config.environment import EnvironmentSettings
from emendo_config.errors import ConfigurationError
from emendo_config.provider_settings import canonical_fields, fields_problem, server_problem
from emendo_config.urls import broker_beside, broker_problem, redis_database, redis_problem, tidy_broker

LOCAL_MODEL = "use-multilingual-v3"
LOCAL_DIMENSIONS = 512
OPENAI_MODEL = "text-embedding-3-small"
OPENAI_DIMENSIONS = 1536
# Cosine similarity from which two texts count as equal, by embedding model. A low value loses facts: the local model
# gives 0.9968 to "prefers tea over coffee" and "prefers coffee over tea".
NEAR_DUPLICATE = 0.995
NEAR_DUPLICATES = {OPENAI_MODEL: 0.99, "text-embedding-3-large": 0.99, LOCAL_MODEL: 0.999}
_SHARED_LIMIT = (
    "Limit for all workers together. Unset: the provider's own limit. If both are known, the lower one applies."
)
_HEADERS = 'Headers of each request, as a JSON object: `{"api-key": "…"}`. They win over those of the API key.'
_PREFIX = (
    "Text before each {}, for models that want one, such as `{}`. Belongs to the embedding space, as the model does."
)
_FIELDS = (
    'Further fields of requests for {}, as a JSON object: `{{"input_type": "{}"}}`. Belongs to the embedding space.'
)
_REDIS_URL = "redis://localhost:6379/0"


class Settings(EnvironmentSettings):
    """Emendo's settings. `Settings()` reads the environment; keyword arguments take precedence.

    Raises:
        ConfigurationError: a value has the wrong form, or two values contradict each other.
    """

    model_config = SettingsConfigDict(env_prefix="EMENDO_")

    def __init__(self, **values: Any) -> None:  # said again, because type checkers would ask for every field
        super().__init__(**values)

    # Addresses and names.
    redis_url: str = Field(
        _REDIS_URL,
        repr=False,
        description="URL of the data Redis, which needs the search module. Database 0 only. Sentinels: "
        "`redis+sentinel://host:26379,host2:26379/name-of-the-master/0`. A unix socket: `unix:///run/redis.sock`.",
    )
    broker_url: str = Field(
        "", repr=False, description="URL of the Celery broker. Unset: database 1 of the data Redis."
    )
    control_url: str = Field(
        "", repr=False, description="URL of the Redis for jobs (control plane). Unset: the data Redis."
    )
    key_prefix: str = Field("emendo:", pattern=r"^[^{}\s]*$", description="Prefix of every key and of the index alias.")
    project: str = Field("default", description="The tenant that this client works for.")
    redis_timeout: float = Field(5.0, gt=0, le=60, description="Longest Redis call, in seconds.")
    redis_max_connections: int = Field(
        64, ge=1, description="Connections per process and Redis for calls. A second such pool waits for jobs."
    )
    memory_watermark: float = Field(
        0.95, ge=0, le=1, description="Share of `maxmemory` from which only erasures are accepted; 0: no such limit."
    )
    embedded_redis_check: bool = Field(
        True, description="Start the embedded Redis only if its files are those of the `[local]` extra's wheels."
    )
    broker_timeout: float = Field(2.0, gt=0, le=30, description="Longest wait for the broker in one call, in seconds.")

    # Embedding.
    embedding_provider: Literal["", "openai", "local"] = Field(
        "", description="Unset: `openai` if an API key or a base URL is set, otherwise `local`."
    )
    embedding_model: str = Field(
        "", description="Unset: `text-embedding-3-small` for `openai`. The local model is fixed."
    )
    embedding_dimensions: int = Field(0, ge=0, le=16_384, description="Unset: 1536 for `openai`, 512 for `local`.")
    embedding_base_url: str = Field(
        "",
        repr=False,
        description="Any OpenAI-compatible server. Unset, with an API key: OPENAI_BASE_URL, then OpenAI.",
    )
    embedding_api_key: SecretStr = Field(SecretStr(""), description="Unset: OPENAI_API_KEY.")
    embedding_headers: SecretStr = Field(SecretStr(""), description=_HEADERS)
    embedding_passage_prefix: str = Field("", max_length=1_000, description=_PREFIX.format("memory", "passage: "))
    embedding_query_prefix: str = Field("", max_length=1_000, description=_PREFIX.format("search query", "query: "))
    embedding_passage_fields: str = Field("", description=_FIELDS.format("memories", "search_document"))
    embedding_query_fields: str = Field("", description=_FIELDS.format("search queries", "search_query"))
    embedding_send_dimensions: Literal["auto", "always", "never"] = Field(
        "auto", description="Whether requests name the dimensions. `auto`: unless the server refuses that."
    )
    embedding_send_encoding_format: Literal["auto", "always", "never"] = Field(
        "auto", description="Whether requests ask for base64. `auto`: unless the server refuses that."
    )
    embedding_timeout: float = Field(20.0, gt=0, le=120, description="Longest provider request, in seconds.")
    embedding_max_inputs: int = Field(2_048, ge=1, le=2_048, description="Most texts in one provider request.")
    embedding_max_tokens: int = Field(300_000, ge=1, description="Most tokens in one provider request.")
    embedding_quick_retries: int = Field(2, ge=0, le=10, description="Immediate retries before the job is delayed.")
    embedding_requests_per_minute: int | None = Field(
        None,
        ge=1,
        le=1_000_000_000,
        description=_SHARED_LIMIT,
    )
    embedding_tokens_per_minute: int | None = Field(
        None,
        ge=1,
        le=1_000_000_000,
        description=_SHARED_LIMIT,
    )

    embedding_lru_bytes: int = Field(64 << 20, ge=0, description="Vector cache of a process and space, in bytes.")
    embedding_cache_ttl: int = Field(3_600, ge=0, description="Seconds that Redis caches a vector; 0: no cache.")
    embedding_cache_bytes: int = Field(64 << 20, ge=0, description="Approximate bytes of a space's cache in Redis.")
    embedding_gather_ms: float = Field(5.0, ge=0, le=100, description="Longest wait to combine small requests, in ms.")
    embedding_parallel: int = Field(8, ge=1, le=64, description="Concurrent provider requests of one worker.")

    maintenance_share: float = Field(
        0.5, gt=0, le=1, description="Share of the provider's limits that re-embedding may use. 1 means all."
    )
    embedding_price: float | None = Field(
        None,
        ge=0,
        description="Price of a million tokens in your currency. The plan of a re-embedding then shows its cost.",
    )
    reembed_grace: float = Field(
        604_800.0, ge=0, description="Seconds that the old vectors are kept for a rollback after a re-embedding."
    )

    breaker_failures: int = Field(5, ge=1, description="Consecutive failures that open the circuit breaker.")
    breaker_pause: float = Field(5.0, gt=0, description="First pause of an open circuit breaker, in seconds; doubles.")
    breaker_longest_pause: float = Field(
        60.0, gt=0, description="Longest pause of an open circuit breaker, in seconds."
    )

    # Index.
    index_algorithm: Literal["flat", "hnsw", "svs-vamana"] = Field(
        "flat", description="Algorithm of a new store's index."
    )
    index_text: bool = Field(
        False,
        description='Index the words of memories for `mode="hybrid"`, also of those that are there. '
        "Each write costs Redis more time, and each memory some hundred bytes.",
    )

    # Chat model.
    chat_base_url: str = Field(
        "",
        repr=False,
        description="Any OpenAI-compatible server. Unset, with an API key: OPENAI_BASE_URL, then OpenAI.",
    )
    chat_model: str = Field(
        "", description="Unset: no chat model. Then adds store messages as they are, and merges wait for a person."
    )
    chat_api_key: SecretStr = Field(SecretStr(""), description="Unset: OPENAI_API_KEY.")
    chat_headers: SecretStr = Field(SecretStr(""), description=_HEADERS)
    chat_fields: str = Field(
        "", description='Further fields of each request, as a JSON object: `{"reasoning_effort": "low"}`.'
    )
    chat_timeout: float = Field(60.0, gt=0, le=170, description="Longest chat request, in seconds.")
    inference_window_tokens: int = Field(
        6_000,
        ge=256,
        le=1_000_000,
        description="Approximate number of tokens of conversation, or of memories, in one chat request.",
    )
    inference_neighbours: int = Field(5, ge=1, le=50, description="Memories that a new fact is compared with.")
    inference_near_duplicate: float | None = Field(
        None,
        gt=0,
        le=1,
        description="Cosine similarity from which a new fact counts as known. Unset: depends on the embedding model.",
    )
    inference_max_deletes: int = Field(
        5,
        ge=0,
        description="Most memories of one owner that one job of inference deletes, or of whose text it drops more than "
        "half. Further ones wait for a person.",
    )
    inference_shared_scopes: bool = Field(
        False,
        description="Inferred adds see and change all memories that a search with their ids finds: "
        "with `agent_id` alone those of all its users. Off: only memories with exactly their ids.",
    )
    inference_redecisions: int = Field(
        2,
        ge=0,
        le=10,
        description="Times that a fact is decided again because its memory changed. Afterwards it is added.",
    )
    inference_drains: int | None = Field(
        None, ge=1, description="A worker's drains that may wait for the chat model. Unset: half of its threads."
    )

    # Intake and drain.
    inbox_shards: int = Field(
        16, ge=1, le=1_024, description="Interactive inbox streams; equal in clients and workers."
    )
    inference_shards: int = Field(16, ge=1, le=1_024, description="Inbox streams for jobs that need the chat model.")
    bulk_shards: int = Field(12, ge=1, le=256, description="Inbox streams, and concurrent drains, for batch chunks.")
    maintenance_shards: int = Field(6, ge=1, le=256, description="Inbox streams for maintenance.")
    chunk_items: int = Field(256, ge=1, le=2_048, description="Items of a batch job in one chunk.")
    batch_idle: float = Field(300.0, gt=1, description="Seconds without items after which a batch job is closed.")
    drain_batch: int = Field(384, ge=1, le=2_048, description="Most jobs that a drain processes at once.")
    drain_bytes: int = Field(
        16_777_216, ge=1, description="Bytes of payload after which a drain's batch takes no further job."
    )
    drain_budget: float = Field(20.0, gt=0, description="Seconds after which another drain continues.")
    lease: float = Field(8.0, gt=0.2, description="Seconds until a silent worker loses shards and locks.")
    ring_ttl: float = Field(5.0, gt=0.2, description="Seconds until an unanswered wake-up is sent again.")
    sweep_interval: float = Field(1.0, gt=0, description="Seconds between two runs of the sweeper.")
    poison_deliveries: int = Field(5, ge=2, description="Deaths of workers after which a job is dead-lettered.")

    # Jobs.
    task_soft_time_limit: int = Field(120, ge=1, description="Seconds after which a Celery task is asked to stop.")
    task_time_limit: int = Field(180, ge=2, description="Seconds after which a Celery task is killed.")
    visibility_timeout: int = Field(1_800, ge=3, description="Seconds until the broker redelivers an unacked message.")
    job_ttl: int = Field(86_400, ge=4, description="Seconds that records and applied keys outlive their job.")
    dead_ttl: float | None = Field(
        None, gt=0, description="Seconds until housekeeping discards a dead letter. Unset: never."
    )
    aof_rewrite_interval: float = Field(
        3_600.0,
        gt=0,
        description="Shortest time in seconds between two rewrites of the append-only file that erasures call for.",
    )
    max_attempts: int = Field(8, ge=1, description="Attempts after which a job becomes a dead letter.")
    retry_base: float = Field(1.0, gt=0, description="Seconds before the second attempt; doubles each time.")
    retry_max: float = Field(300.0, gt=0, description="Longest pause between two attempts, in seconds.")
    history_entries: int | None = Field(
        None, ge=1, description="Newest history entries that each memory keeps. Unset: all."
    )
    feed_length: int = Field(100_000, ge=0, description="Approximate number of changes that the feed keeps.")
    task_events: bool = Field(True, description="Send each job's events to Flower under its own id and name.")

    # Durability that `consistency="strong"` waits for after the commit.
    strong_fsync: bool = Field(False, description="Wait until the commit is in the append-only file (WAITAOF).")
    strong_replicas: int = Field(
        0, ge=0, le=16, description="Number of replicas that must have the commit (WAIT, WAITAOF)."
    )
    # With `appendfsync everysec` Redis may take two seconds.
    strong_timeout: float = Field(3.0, gt=0, le=30, description="Longest wait for them in seconds, before a retry.")

    # Limits for each project, so that none delays the others.
    project_window_chunks: int | None = Field(
        None,
        ge=1,
        le=100_000,
        description="A project's batch chunks in the inboxes. Further ones wait for a place. "
        "Unset: two thirds of `EMENDO_BULK_SHARDS`, so that other projects find a free inbox.",
    )
    project_window_conversations: int = Field(
        16,
        ge=1,
        le=100_000,
        description="A project's conversations in the inboxes, single and imported ones each. Further ones wait.",
    )
    project_max_waiting: int = Field(
        0,
        ge=0,
        description="Open jobs and chunks of a project, beyond which QUOTA_EXCEEDED refuses further ones. 0: no limit.",
    )

    # Limits for callers.
    max_text_chars: int = Field(32_000, ge=1, description="Longest memory text, in characters.")
    max_metadata_bytes: int = Field(16_384, ge=2, description="Largest metadata of a memory, in bytes of UTF-8 JSON.")
    max_messages: int = Field(1_000, ge=1, description="Most messages in one add.")
    max_conversation_chars: int = Field(
        1_000_000, ge=1, description="Most characters in all messages of one add together."
    )

    # Celery's remote control.
    remote_control: Literal["read", "all"] = Field(
        "read",
        description="Commands of Celery's remote control that workers obey: those that only read, or all. With `all`, "
        "a program that can write to the broker can end workers.",
    )

    # Flower.
    flower_user: str = Field("emendo", description="User name for Flower.")
    flower_password: SecretStr = Field(
        SecretStr(""), description="Password for Flower. Unset: `emendo up` generates one."
    )
    flower_read_only: bool = Field(
        True,
        description="Flower only shows things. False: it may also stop workers, change them, and send tasks. "
        "Workers obey it with `EMENDO_REMOTE_CONTROL=all`.",
    )

    # Logging.
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="Lowest level that is logged.")
    log_format: Literal["text", "json"] = Field(
        "text", description="One line of text, or one JSON object, for each event."
    )

    # Traces.
    traces: Literal["off", "otlp"] | None = Field(
        None,
        description="`otlp`: workers and the gateway export spans by OpenTelemetry's protocol, as the `OTEL_…` "
        "variables say. Unset: they do so if `OTEL_EXPORTER_OTLP_ENDPOINT` or `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` is "
        "set. Clients use the provider that their program has set. `off`: no spans, and none in clients.",
    )

    @model_validator(mode="before")
    @classmethod
    def _fill_defaults(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Derives unset settings from others. An empty environment variable counts as unset."""
        values = {name: _trimmed(name, value) for name, value in values.items()}
        values = {name: value for name, value in values.items() if value not in ("", None)}
        redis_url = values.get("redis_url", _REDIS_URL)
        if isinstance(redis_url, str):  # pydantic refuses other types
            _require_usable("EMENDO_REDIS_URL", redis_problem(redis_url), "redis://host:6379/0")
            values.setdefault("control_url", redis_url)
            if "broker_url" not in values:
                values["broker_url"] = _default_broker(redis_url)
        if isinstance(values.get("broker_url"), str):
            values["broker_url"] = tidy_broker(values["broker_url"])
        values.setdefault("embedding_api_key", os.environ.get("OPENAI_API_KEY", "").strip())
        values.setdefault("chat_api_key", os.environ.get("OPENAI_API_KEY", "").strip())
        for kind in ("embedding", "chat"):
            if values[f"{kind}_api_key"] and values.get(f"{kind}_provider") != "local":
                # The openai library reads this variable itself, so the settings must show it.
                values.setdefault(f"{kind}_base_url", os.environ.get("OPENAI_BASE_URL", "").strip())
        remote = values["embedding_api_key"] or values.get("embedding_base_url")
        values.setdefault("embedding_provider", "openai" if remote else "local")
        local = values["embedding_provider"] == "local"
        values.setdefault("embedding_model", LOCAL_MODEL if local else OPENAI_MODEL)
        values.setdefault("embedding_dimensions", LOCAL_DIMENSIONS if local else OPENAI_DIMENSIONS)
        return values

    @field_validator("embedding_passage_fields", "embedding_query_fields", "chat_fields")
    @classmethod
    def _check_fields(cls, value: str, info: ValidationInfo) -> str:
        problem = fields_problem(str(info.field_name), value)
        if problem is not None:
            raise ValueError(f"it {problem}")
        return value

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
                "otherwise a job can run twice at once, or its record can expire while the job runs",
            )
        _require(
            self.retry_max < self.visibility_timeout,
            f"EMENDO_RETRY_MAX ({self.retry_max}) must be below EMENDO_VISIBILITY_TIMEOUT ({self.visibility_timeout})",
            "otherwise the broker redelivers a job during its pause",
        )
        _require(
            self.retry_base <= self.retry_max,
            f"EMENDO_RETRY_BASE ({self.retry_base}) must not be above EMENDO_RETRY_MAX ({self.retry_max})",
            "lower the first or raise the second",
        )
        _require(
            self.sweep_interval < self.lease,
            f"EMENDO_SWEEP_INTERVAL ({self.sweep_interval}) must be below EMENDO_LEASE ({self.lease})",
            "otherwise a dead worker is detected too late",
        )
        _require(
            not (self.strong_fsync or self.strong_replicas) or self.strong_timeout < self.redis_timeout,
            f"EMENDO_STRONG_TIMEOUT ({self.strong_timeout}) must be below EMENDO_REDIS_TIMEOUT ({self.redis_timeout})",
            "lower the first or raise the second: the wait is a single call to Redis",
        )
        if self.embedding_provider == "local":
            _require(
                (self.embedding_model, self.embedding_dimensions) == (LOCAL_MODEL, LOCAL_DIMENSIONS),
                f"the local embedder is {LOCAL_MODEL} with {LOCAL_DIMENSIONS} dimensions; "
                f"got {self.embedding_model} with {self.embedding_dimensions}",
                "unset EMENDO_EMBEDDING_MODEL and EMENDO_EMBEDDING_DIMENSIONS, or set OPENAI_API_KEY "
                "or EMENDO_EMBEDDING_BASE_URL to use a provider",
            )
            _require(
                self.space.has_plain_texts,
                "the local embedder takes texts as they are, but a prefix or fields are set for them",
                "unset EMENDO_EMBEDDING_PASSAGE_PREFIX, EMENDO_EMBEDDING_QUERY_PREFIX and the …_FIELDS",
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
        if self.control_url != self.redis_url:  # `_fill_defaults` has checked the data Redis
            _require_usable("EMENDO_CONTROL_URL", redis_problem(self.control_url), "redis://host:6379/0")
        _require_usable(
            "EMENDO_BROKER_URL", broker_problem(self.broker_url), "redis://host:6379/1 or amqp://host:5672//"
        )
        for name, url, key in (
            ("embedding", self.embedding_base_url, self.embedding_api_key.get_secret_value()),
            ("chat", self.chat_base_url, self.chat_api_key.get_secret_value()),
        ):
            headers = getattr(self, f"{name}_headers").get_secret_value()
            problem = server_problem(f"EMENDO_{name.upper()}", url, key, headers)
            _require(problem is None, *(problem or ("", "")))
        return self

    @property
    def has_chat_model(self) -> bool:
        """Whether a chat model is configured."""
        return bool(self.chat_model)

    @property
    def wakeup_ttl_ms(self) -> int:
        """`ring_ttl` in milliseconds."""
        return int(self.ring_ttl * 1000)

    @property
    def near_duplicate(self) -> float:
        """The cosine similarity from which a new fact counts as known."""
        given = self.inference_near_duplicate
        return given if given is not None else NEAR_DUPLICATES.get(self.embedding_model, NEAR_DUPLICATE)

    @property
    def space(self) -> EmbeddingSpace:
        """The embedding space these settings write to."""
        return EmbeddingSpace(
            self.embedding_provider,
            self.embedding_model,
            self.embedding_dimensions,
            passage=InputForm(self.embedding_passage_prefix, canonical_fields(self.embedding_passage_fields)),
            query=InputForm(self.embedding_query_prefix, canonical_fields(self.embedding_query_fields)),
        )


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
    """Removes white space around URLs and keys: a file with a secret ends with a newline."""
    if not name.endswith(("_url", "_api_key")):
        return value
    text = value.get_secret_value() if isinstance(value, SecretStr) else value
    return text.strip() if isinstance(text, str) else text


def _default_broker(redis_url: str) -> str:
    parts = urlsplit(redis_url)
    _require(
        not {"username", "password"} & parse_qs(parts.query).keys(),
        "EMENDO_BROKER_URL is needed when EMENDO_REDIS_URL has a user name or password after a question mark",
        "write them before the host: redis://user:password@host:6379/0",
    )
    return broker_beside(redis_url, 1)
