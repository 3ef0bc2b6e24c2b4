"""Every error code that Emendo raises, with its class, its retry rule, its meaning and the advice for the reader.

`docs/reference/errors.md` is generated from this list by `docs/generate_errors.py`. A code is stored in job records and
dead letters, and programs compare it: never rename or reuse one.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Self


class Retry(StrEnum):
    """Whether another attempt helps, in the words of the errors page; `emendo_workers.jobs.retry` decides by class."""

    NO = "no"
    NEVER = "no, nor by a replay"
    YES = "yes"
    UNCOUNTED = "yes, no attempt is spent"
    LONGEST_PAUSES = "yes, at the longest pauses, no attempt is spent"
    WHEN_TOLD = "yes, not before the provider says"
    THREE_ATTEMPTS = "yes, three attempts"
    BY_CALLER = "by the caller"
    BY_OPERATOR = "`emendo reembed resume`"
    NOT_IN_JOBS = ""


class ErrorCode(StrEnum):
    """An error code; the member is the string that stands in records and answers.

    Attributes:
        error_class: name of the class that carries it.
        retry: whether another attempt helps.
        meaning, advice: what happened and what the reader can do, as the errors page shows them.
    """

    error_class: str
    retry: Retry
    meaning: str
    advice: str

    def __new__(cls, code: str, error_class: str, retry: Retry, meaning: str, advice: str = "") -> Self:
        """A member, which is its code."""
        member = str.__new__(cls, code)
        member._value_ = code
        member.error_class = error_class
        member.retry = retry
        member.meaning = meaning
        member.advice = advice
        return member

    @property
    def is_replayable(self) -> bool:
        """True when a replay may succeed; False for a refusal of the request itself, which is no dead letter."""
        return self.retry is not Retry.NEVER

    AUTHENTICATION = (
        "AUTHENTICATION",
        "AuthenticationError",
        Retry.UNCOUNTED,
        "The provider does not know the key. The worker claims no jobs until it does.",
        "Correct `EMENDO_EMBEDDING_API_KEY` or `EMENDO_CHAT_API_KEY` and restart the worker; the jobs go on.",
    )
    BATCH_ABANDONED = (
        "BATCH_ABANDONED",
        "JobError",
        Retry.NOT_IN_JOBS,
        "No items came for a batch for `EMENDO_BATCH_IDLE` seconds, so it was closed; accepted items are carried out.",
        "Send the rest as a new batch, or raise `EMENDO_BATCH_IDLE`.",
    )
    BODY_TOO_LARGE = (
        "BODY_TOO_LARGE",
        "ValidationError",
        Retry.NOT_IN_JOBS,
        "The request's body is larger than `EMENDO_GATEWAY_MAX_BODY_BYTES`.",
        "Send less at once: split a batch.",
    )
    BODY_TOO_SLOW = (
        "BODY_TOO_SLOW",
        "NetworkError",
        Retry.BY_CALLER,
        "The request's body did not arrive within `EMENDO_GATEWAY_BODY_TIMEOUT` seconds; nothing was done.",
        "Send it again over a better connection, or split it.",
    )
    CANCELLED = (
        "CANCELLED",
        "EmendoError",
        Retry.NEVER,
        "The job was cancelled before this item was committed.",
    )
    CHUNK = (
        "CHUNK",
        "JobError",
        Retry.NOT_IN_JOBS,
        "`cancel` was called with the id of a batch job's chunk.",
        "Cancel the whole job; `details` has its id.",
    )
    CIRCUIT_OPEN = (
        "CIRCUIT_OPEN",
        "CircuitOpenError",
        Retry.UNCOUNTED,
        "The provider has been failing, so it was not asked.",
        "Check the provider; the jobs go on by themselves when it answers.",
    )
    CONFIGURATION = (
        "CONFIGURATION",
        "ConfigurationError",
        Retry.NOT_IN_JOBS,
        "A setting, or two settings together, cannot work.",
        "Change the settings that the message names.",
    )
    CONFLICT = (
        "CONFLICT",
        "ConflictError",
        Retry.NEVER,
        "A memory with this id exists already.",
        "Update that memory instead.",
    )
    EMBEDDING = (
        "EMBEDDING",
        "EmbeddingError",
        Retry.NO,
        "The provider refuses the text, and takes others.",
        "The provider's code is in `details`; change the text.",
    )
    EMBEDDING_MALFORMED = (
        "EMBEDDING_MALFORMED",
        "EmbeddingError",
        Retry.YES,
        "The provider's answer cannot be used: a vector is missing, is all zeros, or has another dimension.",
        "Check that `EMENDO_EMBEDDING_DIMENSIONS` fits the model.",
    )
    EMBEDDING_TOO_LONG = (
        "EMBEDDING_TOO_LONG",
        "EmbeddingError",
        Retry.NO,
        "The text has more tokens than the embedding model takes.",
        "Shorten the text, lower `EMENDO_MAX_TEXT_CHARS`, or use a model that takes longer texts.",
    )
    EMENDO = (
        "EMENDO",
        "EmendoError",
        Retry.NOT_IN_JOBS,
        "The error's record holds no code.",
    )
    FILTER_TOO_BROAD = (
        "FILTER_TOO_BROAD",
        "ValidationError",
        Retry.NOT_IN_JOBS,
        "A filter holds a condition that the index does not know, and too many memories meet the others.",
        "Add a scope, or a condition with `eq`, `in` or `exists`; `docs/how-to/filter.md` says which are indexed.",
    )
    HEAD_TOO_LARGE = (
        "HEAD_TOO_LARGE",
        "ValidationError",
        Retry.NOT_IN_JOBS,
        "The request's head is larger than `EMENDO_GATEWAY_MAX_HEADER_BYTES`, or has more than 100 fields.",
        "Send less in the address and the fields; a search or a list with a long filter is a POST.",
    )
    HOST_REFUSED = (
        "HOST_REFUSED",
        "PermissionDeniedError",
        Retry.NOT_IN_JOBS,
        "The request's `Host`, or without keys its `Origin`, is a name that this gateway does not know.",
        "Add the name to `EMENDO_GATEWAY_HOSTS`.",
    )
    IDEMPOTENCY_KEY_REUSED = (
        "IDEMPOTENCY_KEY_REUSED",
        "ConflictError",
        Retry.NOT_IN_JOBS,
        "The key was used for another request; `details` has that job's id.",
        "Use a new key for a new request.",
    )
    INDEXES_DIFFER = (
        "INDEXES_DIFFER",
        "VectorStoreError",
        Retry.BY_OPERATOR,
        "The new index of a re-embedding does not come to hold as many memories as the old one.",
        "Find the memories that Redis cannot index with `emendo doctor --deep`.",
    )
    INFERENCE = (
        "INFERENCE",
        "InferenceError",
        Retry.NO,
        "The chat provider refuses the request.",
        "Check `EMENDO_CHAT_MODEL` and `EMENDO_CHAT_BASE_URL`; `details` has the status.",
    )
    INFERENCE_MALFORMED = (
        "INFERENCE_MALFORMED",
        "InferenceError",
        Retry.YES,
        "The chat model's answer is not of the form it was asked for.",
        "If it happens often, measure the model with `emendo eval inference`.",
    )
    INFERENCE_REFUSED = (
        "INFERENCE_REFUSED",
        "InferenceError",
        Retry.NO,
        "The model, its provider or a content filter refuses to answer.",
        "Leave the refused content out, or add the facts with `infer=False`.",
    )
    INFERENCE_TOO_LONG = (
        "INFERENCE_TOO_LONG",
        "InferenceError",
        Retry.NO,
        "The question has more tokens than the chat model takes.",
        "Lower `EMENDO_INFERENCE_WINDOW_TOKENS`, or use a model with a larger context.",
    )
    INFERENCE_TRUNCATED = (
        "INFERENCE_TRUNCATED",
        "InferenceError",
        Retry.NO,
        "The chat model's answer reached a token limit.",
        "Lower `EMENDO_INFERENCE_WINDOW_TOKENS`.",
    )
    JOB = (
        "JOB",
        "JobError",
        Retry.NOT_IN_JOBS,
        "Base class of errors about a whole job; an error has a more exact code.",
    )
    JOB_FAILED = (
        "JOB_FAILED",
        "JobFailedError",
        Retry.NOT_IN_JOBS,
        "`wait(raise_on_failure=True)`: the job failed, and the message names the cause.",
        'Read the whole result in `details["result"]`.',
    )
    JOB_NOT_DEAD = (
        "JOB_NOT_DEAD",
        "JobError",
        Retry.NOT_IN_JOBS,
        "The job is no dead letter, so it cannot be replayed or discarded.",
        "List the dead letters with `emendo dead list`.",
    )
    JOB_NOT_FOUND = (
        "JOB_NOT_FOUND",
        "JobNotFoundError",
        Retry.NOT_IN_JOBS,
        "The id was never accepted in this project, or its record has expired (`EMENDO_JOB_TTL`).",
        "Check the id and the project.",
    )
    JOB_TIMEOUT = (
        "JOB_TIMEOUT",
        "JobTimeoutError",
        Retry.NOT_IN_JOBS,
        "`wait` reached its timeout; the job goes on.",
        "Wait again, or look later with `job(job_id)`.",
    )
    KEY_NOT_FOUND = (
        "KEY_NOT_FOUND",
        "NotFoundError",
        Retry.NOT_IN_JOBS,
        "There is no API key with this id.",
        "`emendo keys list` shows the ids.",
    )
    KEY_REFUSED = (
        "KEY_REFUSED",
        "AuthenticationError",
        Retry.NOT_IN_JOBS,
        "The request has no key, or one that is unknown, expired or revoked.",
        "Send `Authorization: Bearer em_…`; `emendo keys create` makes a key.",
    )
    KEY_SCOPE = (
        "KEY_SCOPE",
        "PermissionDeniedError",
        Retry.NOT_IN_JOBS,
        "The key is known, but its scope or its user does not allow this.",
        "Use a key with that scope; `emendo keys list` shows them.",
    )
    MEASUREMENT = (
        "MEASUREMENT",
        "MeasurementError",
        Retry.NOT_IN_JOBS,
        "`emendo bench`: the measured work did not happen as it should, so there is no figure.",
        "Check the workers' log, then measure again.",
    )
    MEMORY_ERASED = (
        "MEMORY_ERASED",
        "MemoryNotFoundError",
        Retry.NEVER,
        "The memory was deleted for good.",
        "Add a new memory.",
    )
    MEMORY_NOT_FOUND = (
        "MEMORY_NOT_FOUND",
        "MemoryNotFoundError",
        Retry.NEVER,
        "This project has no such memory, or it is deleted or expired.",
        "Bring a deleted memory back with `restore`.",
    )
    METHOD_NOT_ALLOWED = (
        "METHOD_NOT_ALLOWED",
        "ValidationError",
        Retry.NOT_IN_JOBS,
        "The path exists, but not with this method.",
        "The answer's `Allow` names the methods.",
    )
    MIGRATION_UNDER_WAY = (
        "MIGRATION_UNDER_WAY",
        "ConflictError",
        Retry.NOT_IN_JOBS,
        "Another re-embedding is under way; a store has one at a time.",
        "Wait for it, cancel it, or end it with `finalize_reembed` or `rollback_reembed`.",
    )
    MISSING_VECTORS = (
        "MISSING_VECTORS",
        "EmendoError",
        Retry.BY_OPERATOR,
        "A re-embedding could not embed some memories in the new space.",
        "Find them with `emendo reembed status`, correct the cause and resume.",
    )
    NETWORK = (
        "NETWORK",
        "NetworkError",
        Retry.BY_CALLER,
        "Redis could not be reached in time.",
        "Check `EMENDO_REDIS_URL`; `emendo doctor` shows what answers.",
    )
    NOTHING_TO_MERGE = (
        "NOTHING_TO_MERGE",
        "ValidationError",
        Retry.NEVER,
        "The waiting submission is a delete, and a delete cannot be merged with a text.",
        "Decide for `ours` or `theirs`.",
    )
    NOT_CONFIRMED = (
        "NOT_CONFIRMED",
        "NetworkError",
        Retry.YES,
        '`consistency="strong"`: the change is not on disk or on replicas in time, or a failover lost it.',
        "Check the append-only file and the replicas of Redis.",
    )
    NOT_FOUND = (
        "NOT_FOUND",
        "NotFoundError",
        Retry.NOT_IN_JOBS,
        "Base class of errors about an unknown id; an error has a more exact code.",
    )
    NOT_OFFERED = (
        "NOT_OFFERED",
        "ValidationError",
        Retry.NOT_IN_JOBS,
        "A mem0 client asked for what this server does not have; nothing was done.",
        "`docs/how-to/mem0-clients.md` says what there is instead.",
    )
    NO_CONNECTION_FREE = (
        "NO_CONNECTION_FREE",
        "NetworkError",
        Retry.BY_CALLER,
        "All `EMENDO_REDIS_MAX_CONNECTIONS` connections stayed in use for `EMENDO_REDIS_TIMEOUT` seconds.",
        "Raise `EMENDO_REDIS_MAX_CONNECTIONS`, or make fewer calls at once.",
    )
    NO_INDEX = (
        "NO_INDEX",
        "VectorStoreError",
        Retry.YES,
        "The search index does not exist yet, or is being rebuilt.",
        "Start a worker, which creates it.",
    )
    NO_MIGRATION = (
        "NO_MIGRATION",
        "ConflictError",
        Retry.NOT_IN_JOBS,
        "No re-embedding is in a phase that allows this step.",
        "Read its phase with `emendo reembed status`.",
    )
    NO_SUCH_CONFLICT = (
        "NO_SUCH_CONFLICT",
        "ConflictNotFoundError",
        Retry.NEVER,
        "No conflict with this id waits for a decision.",
        "It may be resolved already; `emendo conflicts` lists those that wait.",
    )
    NO_SUCH_VERSION = (
        "NO_SUCH_VERSION",
        "ValidationError",
        Retry.NEVER,
        "The memory never had that version.",
        "Read its versions with `history`.",
    )
    OUT_OF_MEMORY = (
        "OUT_OF_MEMORY",
        "VectorStoreError",
        Retry.UNCOUNTED,
        "Redis is full, or above `EMENDO_MEMORY_WATERMARK`: it accepts only erasures, and jobs that need memory wait.",
        "Raise `maxmemory`, or purge deleted memories; the jobs go on by themselves. Repeat a call that was refused.",
    )
    OVERLOADED = (
        "OVERLOADED",
        "TransientError",
        Retry.BY_CALLER,
        "The gateway has as many requests of this kind as it takes; nothing was done.",
        "Send it again after `Retry-After` seconds; `EMENDO_GATEWAY_MAX_READS` and its kin are the limits.",
    )
    PAYLOAD_UNREADABLE = (
        "PAYLOAD_UNREADABLE",
        "EmendoError",
        Retry.NO,
        "The worker cannot read the operation: a newer client wrote it, or the job's record is damaged.",
        "Update the workers, then replay the dead letters; or submit the job again.",
    )
    PERMISSION_DENIED = (
        "PERMISSION_DENIED",
        "PermissionDeniedError",
        Retry.UNCOUNTED,
        "The provider's key may not use this model. The worker claims no jobs until it may.",
        "Give the key access to the model, or configure another model.",
    )
    POISON = (
        "POISON",
        "EmendoError",
        Retry.NO,
        "`EMENDO_POISON_DELIVERIES` workers died while they worked on this job.",
        "Find the cause in the workers' logs before you replay it.",
    )
    PORT_TAKEN = (
        "PORT_TAKEN",
        "ConfigurationError",
        Retry.NOT_IN_JOBS,
        "Another process listens on the port.",
        "Stop that process, or give another port.",
    )
    PROVIDER_FAILING = (
        "PROVIDER_FAILING",
        "NetworkError",
        Retry.YES,
        "The provider answered 408, 409 or 5xx.",
        "Check the provider's status page.",
    )
    PROVIDER_MISSING = (
        "PROVIDER_MISSING",
        "ConfigurationError",
        Retry.UNCOUNTED,
        "This worker lacks the provider of a live embedding space: not installed, or not named by the settings.",
        "Install it, or give the worker the other workers' settings, and restart it; the jobs go on.",
    )
    PROVIDER_REFUSES = (
        "PROVIDER_REFUSES",
        "ConfigurationError",
        Retry.UNCOUNTED,
        "The provider refuses even a harmless text: a setting or the account is wrong. The worker claims no jobs.",
        "The provider's code, type and parameter are in the message; `emendo doctor` asks again. The jobs go on.",
    )
    PROVIDER_TIMEOUT = (
        "PROVIDER_TIMEOUT",
        "NetworkError",
        Retry.YES,
        "The provider did not answer in time.",
        "Raise `EMENDO_EMBEDDING_TIMEOUT` or `EMENDO_CHAT_TIMEOUT` if the provider is always slow.",
    )
    PROVIDER_UNREACHABLE = (
        "PROVIDER_UNREACHABLE",
        "NetworkError",
        Retry.YES,
        "The provider cannot be reached.",
        "Check `EMENDO_EMBEDDING_BASE_URL` or `EMENDO_CHAT_BASE_URL`, and the network.",
    )
    QUOTA_EXCEEDED = (
        "QUOTA_EXCEEDED",
        "QuotaExceededError",
        Retry.LONGEST_PAUSES,
        "The quota of the provider's account is used up; at a submission: the project has as many open jobs as it may.",
        "Raise the provider's quota, and the jobs go on; at a submission, raise `EMENDO_PROJECT_MAX_WAITING`.",
    )
    RATE_LIMIT = (
        "RATE_LIMIT",
        "RateLimitError",
        Retry.WHEN_TOLD,
        "The provider asks to slow down; all workers pause.",
        "If it happens often, lower `EMENDO_EMBEDDING_REQUESTS_PER_MINUTE` or `EMENDO_EMBEDDING_TOKENS_PER_MINUTE`.",
    )
    RECORD_UNREADABLE = (
        "RECORD_UNREADABLE",
        "VectorStoreError",
        Retry.YES,
        "A document in Redis is damaged: a memory, an entry of a history, a job's record or a list.",
        "`emendo diagnose <memory id>` and `emendo doctor --deep` name damaged memories.",
    )
    REDIS_BUSY = (
        "REDIS_BUSY",
        "NetworkError",
        Retry.BY_CALLER,
        "Redis is busy with a long command, or its cluster moves the keys just now.",
        "Try again in some seconds. `SLOWLOG GET` shows the command.",
    )
    REDIS_LOGIN_REFUSED = (
        "REDIS_LOGIN_REFUSED",
        "NetworkError",
        Retry.BY_CALLER,
        "Redis refuses the user or the password.",
        "Correct them in `EMENDO_REDIS_URL`, or in `EMENDO_CONTROL_URL` where that is set.",
    )
    REDIS_NO_PERMISSION = (
        "REDIS_NO_PERMISSION",
        "VectorStoreError",
        Retry.UNCOUNTED,
        "The user of Redis lacks a right to a command, key or channel. A worker claims no jobs until it has the right.",
        "Give the user the rules of its role: `emendo redis-users` prints them. The jobs go on.",
    )
    RELEASE_TOO_OLD = (
        "RELEASE_TOO_OLD",
        "ConfigurationError",
        Retry.UNCOUNTED,
        "A newer release wrote the registry of embedding spaces, or a job, in a format that this process cannot read.",
        "Upgrade the process; see `docs/how-to/upgrade.md`. The jobs wait for workers that can read them.",
    )
    REQUEST_TIMEOUT = (
        "REQUEST_TIMEOUT",
        "TransientError",
        Retry.BY_CALLER,
        "The gateway gave up after `EMENDO_GATEWAY_REQUEST_TIMEOUT` seconds; a write may have been accepted.",
        "Repeat it, a write with its idempotency key.",
    )
    SPACES_UNREADABLE = (
        "SPACES_UNREADABLE",
        "ConfigurationError",
        Retry.UNCOUNTED,
        "This worker cannot read the registry of embedding spaces: an entry is damaged.",
        "Repair the entry in `emendo:spaces`; the jobs go on.",
    )
    SPACE_SWITCHED = (
        "SPACE_SWITCHED",
        "VectorStoreError",
        Retry.YES,
        "Another embedding space became the active one during the attempt.",
    )
    STILL_RUNNING = (
        "STILL_RUNNING",
        "ConflictError",
        Retry.BY_CALLER,
        "The job that this idempotency key began is still running.",
        "Follow that job: the answer's `Location` is its address.",
    )
    STORE_AWAY = (
        "STORE_AWAY",
        "NetworkError",
        Retry.UNCOUNTED,
        "The Redis that holds the memories cannot be used now.",
        "Look with `emendo doctor` which Redis answers; the jobs wait.",
    )
    SUPERSEDED = (
        "SUPERSEDED",
        "ConflictError",
        Retry.NEVER,
        '`on_conflict="reject"`: a newer submission was applied first.',
        "Read the memory again, then decide whether the change is still wanted.",
    )
    THROTTLED = (
        "THROTTLED",
        "ThrottledError",
        Retry.UNCOUNTED,
        "The configured rate leaves no room for the request yet, so the provider was not asked.",
    )
    TOKEN_KEYS_UNREACHABLE = (
        "TOKEN_KEYS_UNREACHABLE",
        "NetworkError",
        Retry.BY_CALLER,
        "The public keys of the tokens' issuer cannot be fetched, so no token can be checked.",
        "Check `EMENDO_GATEWAY_JWT_JWKS`, and the network. The gateway asks again by itself.",
    )
    TOO_MANY_FAILED_LOGINS = (
        "TOO_MANY_FAILED_LOGINS",
        "RateLimitError",
        Retry.BY_CALLER,
        "Too many requests with a wrong key came from this address.",
        "Correct the key and wait for `Retry-After` seconds.",
    )
    TOO_MANY_REQUESTS = (
        "TOO_MANY_REQUESTS",
        "RateLimitError",
        Retry.BY_CALLER,
        "The key has made as many requests as it may in a minute.",
        "Wait for `Retry-After` seconds; `emendo keys create --rate` allows a key more.",
    )
    TRANSIENT = (
        "TRANSIENT",
        "TransientError",
        Retry.YES,
        "Base class of errors that may pass with time; an error has a more exact code.",
    )
    UNEXPECTED = (
        "UNEXPECTED",
        "EmendoError",
        Retry.THREE_ATTEMPTS,
        "A defect of Emendo.",
        "Report it with the traceback from the worker's log.",
    )
    UNKNOWN_OPERATION = (
        "UNKNOWN_OPERATION",
        "ValidationError",
        Retry.NO,
        "The job's record holds an operation that changes no memory, among others that do.",
        "Submit the job again.",
    )
    UNKNOWN_PATH = (
        "UNKNOWN_PATH",
        "NotFoundError",
        Retry.NOT_IN_JOBS,
        "The gateway has nothing at this path.",
        "`GET /openapi.json` lists the paths.",
    )
    UNSUPPORTED_MEDIA_TYPE = (
        "UNSUPPORTED_MEDIA_TYPE",
        "ValidationError",
        Retry.NOT_IN_JOBS,
        "The request's body is not declared as JSON.",
        "Send `Content-Type: application/json`.",
    )
    VALIDATION = (
        "VALIDATION",
        "ValidationError",
        Retry.NEVER,
        "The input is malformed; a call with it enqueues nothing, and an item of a batch fails alone.",
        "Correct the argument that the message names.",
    )
    VECTOR_STORE = (
        "VECTOR_STORE",
        "VectorStoreError",
        Retry.YES,
        "Redis refused a command, for example because a memory's key is not a hash.",
        "Look for damaged memories with `emendo doctor --deep`.",
    )
    VERSION_MISMATCH = (
        "VERSION_MISMATCH",
        "ConflictError",
        Retry.NEVER,
        "The memory does not have the expected version; `details` has both.",
        "Read the memory again and submit the change to its current version.",
    )
    VERSION_TRIMMED = (
        "VERSION_TRIMMED",
        "ValidationError",
        Retry.NO,
        "`restore` asked for a version that the history no longer has.",
        "Choose one that `history(memory_id)` lists. `EMENDO_HISTORY_ENTRIES` says how many versions are kept.",
    )
