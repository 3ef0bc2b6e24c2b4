"""Fuzzing of every stored and sent format: no crash, no quoted text, and nothing of another project is changed."""

from __future__ import annotations

import json
import random
import uuid

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from emendo_client import MemoryClient
from emendo_client.errors import EmendoError
from emendo_client.providers.chat.answers import read_answer
from emendo_client.providers.chat.base import Usage
from emendo_client.providers.embeddings.answers import read_answer as read_embeddings
from emendo_client.providers.error_bodies import in_words, provider_details, says_too_long
from emendo_client.providers.openai_errors import retry_after_seconds
from emendo_client.providers.rate_limit_headers import read_rate_limits
from emendo_workers.runtime.task_messages import MalformedMessageError, checked_envelope, make_safe, read_message
from tests.conftest import _remove
from tests.model.effort import LIMIT, effort
from tests.security.test_broker_messages import message_of
from tests.security.test_no_content_in_errors import SECRET, Surroundings
from tests.support.broker_attacks import task_message
from tests.support.inferring import started
from tests.support.intake import added, drain_all
from tests.support.mutations import ODD, mutate_key, mutated, mutated_json

# Keys of one job or memory: whatever is in them, other memories' jobs are done.
OF_ONE = (b"job:", b"memory:", b"history:", b"conflict:", b"applied:", b"dead-of:", b"lock-queue:", b"idempotency:")
# Redis' own types are the subject here. The broker's messages have tests of their own, and indexes follow the hashes.
LEFT_OUT = (b"_kombu", b"bell:", b"interactive", b"bulk", b"inference", b"maintenance", b"unacked", b"lock:")
FEW = settings(max_examples=12, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
SEEDS = st.integers(0, 2**48)


def fuzz_the_store(emendo_settings, seed: int) -> None:
    rng = random.Random(seed)  # no secret
    own = emendo_settings.model_copy(update={"key_prefix": f"fuzz-{uuid.uuid4().hex[:12]}:"})
    services = started(own)
    try:
        with MemoryClient(own) as client, MemoryClient(own, project="other") as other:
            fuzz_once(services, client, other, rng)
    finally:
        left = list(services.control.scan_iter(match=f"{own.key_prefix}*", count=1_000))
        _remove(services.control, own.key_prefix, left)
        services.stop()


def fuzz_once(services, client, other, rng) -> None:
    foreign = [added(services, other, f"{SECRET} of another project {n}") for n in range(2)]
    keys, prefix = services.keys, services.settings.key_prefix.encode()
    untouched = [name(each) for each in foreign for name in (keys.memory, keys.history)]
    before = {key: services.data.dump(key) for key in untouched}
    of_others = (*(each.encode() for each in foreign), *(job.job_id.encode() for job in other.jobs()), b":other")
    surroundings = Surroundings(services, client, text=SECRET)
    bystander = added(services, client, "a bystander")
    names = sorted(key.removeprefix(prefix) for key in services.control.scan_iter(match=prefix + b"*", count=1_000))
    names = [name for name in names if not name.startswith(LEFT_OUT) and not any(each in name for each in of_others)]
    names = [name for name in names if bystander.encode() not in name]
    chosen = rng.sample(names, rng.choice([1, 1, 2, 3]))
    for name in chosen:
        mutate_key(services.control, prefix + name, rng)
    if all(name.startswith(OF_ONE) for name in chosen):
        with surroundings.listening():
            job = client.update(bystander, "done")
            drain_all(services)
        assert job.status() == "succeeded", chosen
    surroundings.look()
    surroundings.check()
    assert {key: services.data.dump(key) for key in untouched} == before, chosen


@pytest.mark.slow
@FEW
@given(SEEDS)
def test_damage_of_the_store_crashes_nothing_tells_nothing_and_reaches_no_other_project(
    emendo_settings, openai_server, seed
):
    fuzz_the_store(emendo_settings, seed)


@pytest.mark.slow
@pytest.mark.timeout(LIMIT)
@pytest.mark.parametrize("part", range(4))
@effort(20, deep=500)
@given(seed=SEEDS)
def test_much_damage_of_the_store_does_so_either(emendo_settings, openai_server, part, seed):
    fuzz_the_store(emendo_settings, seed)


@settings(max_examples=300, derandomize=True, deadline=None)
@given(SEEDS)
def test_a_mutated_message_is_refused_or_is_one_of_emendos(seed):
    rng = random.Random(seed)  # as above
    raw = json.dumps(task_message([rng.choice(["1", "bulk-2", SECRET])], headers={"expires": None, "note": SECRET}))
    raw = mutated(raw.encode(), rng)
    try:
        message = message_of(checked_envelope(read_message(raw)))
        if rng.random() < 0.5:  # as AMQP hands it over
            message.headers = mutated_json(message.headers, rng)
            message.body = mutated(message.body, rng)
        make_safe(message)
    except MalformedMessageError as problem:
        refusal = str(problem)
        message = None
    else:
        refusal = ""
    assert SECRET not in refusal
    if message is None:
        return
    assert message.headers["task"] in ("emendo.drain", "emendo.housekeeping")
    assert SECRET not in repr(vars(message))


class Facts(BaseModel):
    facts: list[str]


ANSWERS = (
    {"data": [{"index": 0, "embedding": [0.5, 1.0], "text": SECRET}], "usage": {"total_tokens": 3}},
    {"choices": [{"message": {"content": json.dumps({"facts": [SECRET]})}, "finish_reason": "stop"}], "usage": {}},
    {"error": {"message": f"{SECRET} is too long {SECRET}", "code": f"{SECRET} x", "type": None, "param": [SECRET]}},
)


@settings(max_examples=400, derandomize=True, deadline=None)
@given(SEEDS)
def test_a_mutated_answer_of_a_provider_is_read_or_refused_in_emendos_words(seed):
    rng = random.Random(seed)  # as above
    embeddings, chat, error = (mutated_json(each, rng) for each in ANSWERS)
    for read in (
        lambda: read_embeddings(mutated(json.dumps(embeddings).encode(), rng), 1),
        lambda: read_answer(chat, Facts, Usage(), partly=False),
    ):
        said = ""
        try:
            read()
        except EmendoError as refusal:
            said = str(refusal)
        assert SECRET not in said
    details = provider_details(error)
    assert SECRET not in in_words(details)
    assert says_too_long(error) in (True, False)


@settings(max_examples=300, derandomize=True, deadline=None)
@given(SEEDS)
def test_any_headers_of_a_provider_are_read(seed):
    names = ("retry-after", "retry-after-ms", "x-ratelimit-remaining-requests", "x-ratelimit-reset-tokens")
    rng = random.Random(seed)  # as above
    some = "".join(chr(rng.choice([rng.randrange(128), rng.randrange(0x110000)])) for _ in range(rng.randrange(40)))
    values = [str(rng.choice(ODD)), some, some.encode("unicode_escape").decode(), str(rng.uniform(-9, 9e9))]
    headers = {name: rng.choice(values) for name in names if rng.random() < 0.6}  # some
    pause = retry_after_seconds(headers)
    assert pause is None or pause >= 0
    assert read_rate_limits(headers)
