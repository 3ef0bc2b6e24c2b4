"""Re-embedding a store from one space into another: what comes of it, and what is refused."""

from __future__ import annotations

import pytest
from redis.exceptions import ResponseError

from emendo_client import AsyncMemoryClient, MemoryClient
from emendo_client.errors import AuthenticationError, ConflictError, EmbeddingError, ValidationError
from emendo_client.testing import Fault
from emendo_client.testing.openai_server.limits import Limits
from emendo_config.spaces.registry import read_registry
from tests.support.intake import added, drain, drain_all, with_settings
from tests.support.migrating import (
    active_space,
    assert_only,
    indexes,
    migrations_told,
    reembedded,
    registered,
    until_phase,
    work_until,
    worked,
)
from tests.support.spaces import assert_right, listed, right_vector, stored_vector


def before_and_after(services, client, ids):
    return [(client.history(each), client.get(each, include_deleted=True).version) for each in ids]


@pytest.mark.parametrize(("first", "second"), [(384, 1536), (1536, 256)])
def test_all_the_way_from_one_size_to_another(services, client, first, second):
    reembedded(services, client, dimensions=first)
    worked(services, client.finalize_reembed())
    ids = [added(services, client, f"fact {n} about the sea") for n in range(20)]
    before = before_and_after(services, client, ids)
    old = active_space(services)

    job = client.reembed(dimensions=second)
    assert worked(services, job).status == "succeeded"
    space = active_space(services)
    assert (space.space.dimensions, space.space.model) == (second, "text-embedding-3-small")
    for memory_id in ids:
        assert_right(services, memory_id, old, space)
    assert client.search("fact 7 about the sea", user_id="ana")[0].memory == "fact 7 about the sea"
    assert {record.state for record in read_registry(services.data, services.keys)} == {"live"}
    far = job.progress()
    assert (far.done, far.total, far.failed, far.phase) == (20, 20, 0, "switched")
    state = client.migration()
    assert (state.job_id, state.source, state.target) == (job.id, old.name, space.name)
    assert 0 < state.recall <= 1
    assert (state.drops_at - state.switched_at).total_seconds() == services.settings.reembed_grace

    assert worked(services, client.finalize_reembed()).status == "succeeded"
    assert_only(services, ids, space)
    assert before_and_after(services, client, ids) == before
    assert migrations_told(services)[-1] == space.name
    assert client.search("fact 7 about the sea", user_id="ana")[0].memory == "fact 7 about the sea"


def test_deleted_memories_come_back_complete_and_erased_ones_stay_empty(services, client, store):
    space = reembedded(services, client, model="text-embedding-3-large", dimensions=32)
    drain(services, client.restore(store[3]))
    hits = client.search("fact 3 about the sea", user_id="ana")
    assert hits[0].id == store[3]
    assert {hit.embedding_model for hit in hits} == {space.space.model}
    state = client.migration()
    assert (state.plan.memories, state.total, state.done) == (4, 4, 4)


def test_writes_under_way_keep_both_spaces_right(services, client, store):
    client.reembed(dimensions=32)
    until_phase(services, client, "catching_up")
    jobs = [client.update(store[0], "fact 0 is another"), client.add("fact 5", user_id="ana", infer=False)]
    drain_all(services)
    new = jobs[1].wait(1).results[0].memory_id
    work_until(services, lambda: client.migration().phase == "switched")
    for memory_id in (*store, new):
        assert_right(services, memory_id, *read_registry(services.data, services.keys))


def test_another_index_copies_the_vectors_and_asks_the_provider_for_none(services, client, store, openai_server):
    openai_server.clear_requests()
    plan = client.reembed(algorithm="hnsw", metric="l2", datatype="float16", dry_run=True)
    assert (plan.memories, plan.tokens, plan.requests, plan.seconds) == (4, 0, 0, None)
    space = reembedded(services, client, algorithm="hnsw", metric="l2", datatype="float16")
    assert openai_server.requests == []
    assert (space.algorithm, space.metric, space.datatype) == ("hnsw", "l2", "float16")
    worked(services, client.finalize_reembed())
    assert_only(services, store, space)
    assert client.search("fact 2 about the sea", user_id="ana")[0].id == store[2]


def test_a_plan_says_what_it_takes_and_changes_nothing(services, client, store):
    with_settings(services, client, embedding_price=2.0, embedding_tokens_per_minute=60, maintenance_share=0.5)
    before = (registered(services), indexes(services), services.control.exists(services.keys.migration))
    plan = client.reembed(dimensions=32, dry_run=True)
    tokens = 4 * len("fact 0 about the sea") / 4
    assert (plan.memories, plan.tokens, plan.requests) == (4, tokens, 1)
    assert plan.cost == tokens * 2 / 1_000_000
    assert plan.seconds == tokens / 60 * 60 / 0.5
    assert plan.memory_bytes >= 4 * 2 * 32 * 4
    assert (registered(services), indexes(services), services.control.exists(services.keys.migration)) == before
    assert client.migration() is None


def test_a_second_one_is_refused_with_the_first_ones_id(services, client, store):
    job = client.reembed(dimensions=32)
    for _ in range(2):
        with pytest.raises(ConflictError) as refused:
            client.reembed(dimensions=48)
        assert refused.value.details == {"job_id": job.id}
        worked(services, job)  # and while its old space is kept
    worked(services, client.finalize_reembed())
    assert worked(services, client.reembed(dimensions=48)).status == "succeeded"


def test_the_same_key_is_the_same_job(services, client, store):
    job = client.reembed(dimensions=32, idempotency_key="k")
    assert client.reembed(dimensions=32, idempotency_key="k").id == job.id
    with pytest.raises(ConflictError, match="idempotency"):
        client.reembed(dimensions=48, idempotency_key="k")


@pytest.mark.parametrize(
    ("wanted", "problem"),
    [
        ({"model": "text-embedding-3-small", "dimensions": 3_072}, "1 to 1536"),
        ({"dimensions": 1_537}, "1 to 1536"),
        ({"model": "text-embedding-ada-002", "dimensions": 256}, "1536"),
        ({"model": "a-model-nobody-knows"}, "dimensions is missing"),
        ({"dimensions": 0}, "dimensions"),
        ({"dimensions": "32"}, "dimensions"),
        ({"model": ""}, "model"),
        ({"provider": "nobody"}, "provider"),
        ({"provider": "local", "dimensions": 64}, "512"),
        ({"algorithm": "trees"}, "algorithm"),
        ({"metric": "taste"}, "metric"),
        ({"datatype": "int8"}, "datatype"),
        ({}, "already"),
        ({"dimensions": 64, "metric": "cosine"}, "already"),
        ({"filters": {}}, "filters"),
        ({"filters": {"colour": "red"}}, "unknown field"),
        ({"filters": {"missing": False}}, "True"),
        ({"filters": {"user_id": None}}, "None"),
        ({"filters": {"missing": True}, "dimensions": 32}, "filters"),
    ],
)
@pytest.mark.parametrize("dry_run", [True, False])
def test_what_cannot_be_is_refused_at_once(services, client, wanted, problem, dry_run):
    with pytest.raises(ValidationError, match=problem):
        client.reembed(**wanted, dry_run=dry_run)
    assert client.migration() is None
    assert client.jobs() == []


def test_an_index_that_redis_does_not_make_is_refused_and_nothing_is_changed(services, client, store):
    probe = services.keys.index("probe")
    vector = ("v", "VECTOR", "SVS-VAMANA", 6, "TYPE", "FLOAT32", "DIM", 8, "DISTANCE_METRIC", "COSINE")
    try:
        services.data.execute_command("FT.CREATE", probe, "PREFIX", 1, "probe:", "SCHEMA", *vector)
    except ResponseError:
        pass
    else:
        services.data.execute_command("FT.DROPINDEX", probe)
        pytest.skip("this Redis makes them")
    space = active_space(services)
    info = worked(services, client.reembed(algorithm="svs-vamana"))
    assert (info.status, info.error["type"]) == ("failed", "ConfigurationError")
    assert "svs-vamana" in info.error["message"]
    assert_only(services, store, space)
    assert worked(services, client.reembed(algorithm="hnsw")).status == "succeeded", "another one may begin"


def test_an_index_that_redisvl_knows_this_redis_does_not_make_is_refused_alike(services, client, store, monkeypatch):
    monkeypatch.setattr("redisvl.index.index.supports_svs", lambda *_: False)
    space = active_space(services)
    info = worked(services, client.reembed(algorithm="svs-vamana"))
    assert (info.status, info.attempts, info.error["type"]) == ("failed", 1, "ConfigurationError")
    assert "svs-vamana" in info.error["message"]
    assert_only(services, store, space)


def test_a_provider_without_the_model_fails_at_the_plan_and_nothing_is_changed(services, client, store, openai_server):
    openai_server.limits = Limits(models=frozenset({"text-embedding-3-small"}))
    before = (registered(services), indexes(services))
    with pytest.raises((EmbeddingError, ValidationError, ConflictError, AuthenticationError)):
        client.reembed("another-model", 32, dry_run=True)
    job = client.reembed("another-model", 32)
    info = worked(services, job)
    assert info.status == "failed"
    assert info.error["type"] != "EmendoError"
    assert client.migration().phase == "failed"
    assert not client.migration().active
    assert (registered(services), indexes(services)) == before
    assert client.dead_letters() == []
    assert worked(services, client.reembed(dimensions=32)).status == "succeeded"


def test_a_provider_that_is_away_for_a_while_fails_nothing(services, client, store, openai_server):
    openai_server.faults.add(Fault("unavailable", times=4))
    assert worked(services, client.reembed(dimensions=32)).status == "succeeded"


@pytest.mark.parametrize(
    ("damage", "filters"),
    [
        (lambda hash_, field: ("HDEL", hash_, field), {"missing": True}),
        (lambda hash_, field: ("HDEL", hash_, "embedding_space"), {"missing": True}),
        (lambda hash_, field: ("HSET", hash_, field, b"\0" * 12), {"wrong_dimensions": True}),
        (lambda hash_, field: ("HSET", hash_, "embedding_model", "another"), {"wrong_model": True}),
        (lambda hash_, field: ("HSET", hash_, field, b"\0" * 256), {"user_id": "ana"}),
        (lambda hash_, field: ("HSET", hash_, field, b"\0" * 256), {"project": "default", "user_id": "ana"}),
    ],
)
def test_a_part_is_fixed_inside_the_space(services, client, store, damage, filters):
    space = active_space(services)
    key = services.keys.memory(store[1])
    services.data.execute_command(*damage(key, space.field))
    untouched = services.data.hgetall(services.keys.memory(store[0]))
    assert client.reembed(filters=filters, dry_run=True).memories == (4 if "user_id" in filters else 1)
    job = client.reembed(filters=filters)
    assert worked(services, job).status == "succeeded"
    assert client.migration().phase == "repaired"
    assert stored_vector(services, store[1], space) == right_vector(space, "fact 1 about the sea")
    assert_only(services, store, space)
    assert services.data.hgetall(services.keys.memory(store[0])) == untouched
    assert client.get(store[1]).embedding_model == space.space.model
    assert client.reembed(filters={"missing": True}, dry_run=True).memories == 0


def test_only_the_chosen_ones_are_mended(services, client, store, openai_server):
    other = added(services, client, "fact of another")
    openai_server.clear_requests()
    job = client.reembed(filters={"user_id": "nobody"})
    assert worked(services, job).status == "succeeded"
    assert openai_server.requests == []
    assert_right(services, other, active_space(services))


def test_every_project_is_re_embedded(services, client, store):
    with MemoryClient(services.settings, project="another") as other:
        theirs = added(services, other, "a fact of theirs")
        space = reembedded(services, client, dimensions=32)
        assert space.name in listed(services, theirs)
        assert other.search("a fact of theirs", user_id="ana")[0].id == theirs


async def test_the_async_client_does_the_same(services, client, store):
    async with AsyncMemoryClient(services.settings) as other:
        assert (await other.reembed(dimensions=32, dry_run=True)).memories == 4
        job = await other.reembed(dimensions=32)
        await other.pause_reembed()
        assert (await other.migration()).paused
        await other.resume_reembed()
        worked(services, client.job(job.id))
        assert (await job.progress()).phase == "switched"
        back = await other.rollback_reembed()
        worked(services, client.job(back.id))
        with pytest.raises(ConflictError):
            await other.finalize_reembed()


def test_what_ended_well_leaves_no_record(services, client, store):
    with_settings(services, client, chunk_items=1)
    job = client.reembed(dimensions=32)
    assert worked(services, job).status == "succeeded"
    records = {raw.decode() for raw in services.control.scan_iter(match=services.keys.job(f"{job.id}*"))}
    assert records == {services.keys.job(job.id)}
    info = job.info()
    assert (info.items, info.done, info.chunks) == (4, 4, 4)
