"""All checks, in the order in which they depend on one another."""

from __future__ import annotations

from collections.abc import Iterator

from redis.exceptions import AuthenticationError, RedisError

from emendo_client.exchanges.redis_errors import translate
from emendo_config import ConfigurationError, Settings
from emendo_config.store.connections import connect
from emendo_config.store.refusals import is_refused
from emendo_config.urls import redact_url
from emendo_ops.doctor.broker import check_broker
from emendo_ops.doctor.connections import check_connections
from emendo_ops.doctor.control_redis import check_jobs
from emendo_ops.doctor.data_redis import check_data_redis
from emendo_ops.doctor.embedder import check_embedder
from emendo_ops.doctor.environment import unknown_variables
from emendo_ops.doctor.finding import Finding
from emendo_ops.doctor.local_server import check_embedded_server
from emendo_ops.doctor.provider_answers import check_chat_answer, check_embedding_answers
from emendo_ops.doctor.redis_user import check_user
from emendo_ops.doctor.traces import check_traces


def examine() -> Iterator[Finding]:
    """Yields every finding. Checks that need a part which failed are left out."""
    yield from unknown_variables()
    try:
        settings = Settings()
    except ConfigurationError as error:
        yield Finding("settings", "fail", error.message, error.suggestion or "")
        return
    yield Finding("settings", "ok", "valid")
    yield from check_connections(settings)
    embedder = check_embedder(settings)
    yield embedder
    if embedder.state == "ok":
        yield from check_embedding_answers(settings)
    yield check_chat_answer(settings)
    yield from check_traces(settings)
    yield check_embedded_server()
    connection = connect(settings.redis_url, settings)
    try:
        yield from check_data_redis(connection, settings)
        yield from check_user(connection, settings)
    except AuthenticationError:
        found = f"{redact_url(settings.redis_url)} refuses the user or password"
        yield Finding("redis", "fail", found, "correct them in EMENDO_REDIS_URL")
        return
    except RedisError as error:
        if is_refused(error):
            refused = translate(error)
            yield Finding("redis", "fail", refused.message, refused.suggestion or "")
            return
        yield Finding(
            "redis",
            "fail",
            f"{redact_url(settings.redis_url)} does not answer ({type(error).__name__})",
            "start it (emendo up, or docker compose up redis) or set EMENDO_REDIS_URL",
        )
        return
    finally:
        connection.close()
    yield from check_jobs(settings)
    yield check_broker(settings)
