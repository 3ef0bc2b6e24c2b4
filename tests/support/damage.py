"""Ways to damage a memory by hand, as nothing of ours does: each a function of services and a memory id."""

from __future__ import annotations

from tests.support.intake import drain


def work(services, job):
    drain(services, job)
    assert job.wait(1).status == "succeeded"


def hash_of(services, memory_id):
    return services.keys.memory(memory_id)


def set_field(name, value):
    def damage(services, memory_id):
        services.data.hset(hash_of(services, memory_id), name, value)

    return damage


def drop_field(name):
    def damage(services, memory_id):
        assert services.data.hdel(hash_of(services, memory_id), name) == 1

    return damage


def damage_vector(change):
    def damage(services, memory_id):
        key, field = hash_of(services, memory_id), services.settings.space.field
        services.data.hset(key, field, change(services.data.hget(key, field)))

    return damage


def drop_vector(services, memory_id):
    drop_field(services.settings.space.field)(services, memory_id)


def rename_vector(services, memory_id):
    key, field = hash_of(services, memory_id), services.settings.space.field
    services.data.hset(key, "vector_local_old_64_1", services.data.hget(key, field))
    services.data.hdel(key, field)


def drop_entry(number):
    def damage(services, memory_id):
        history = services.keys.history(memory_id)
        entry_id, _ = services.data.xrange(history)[number]
        assert services.data.xdel(history, entry_id) == 1

    return damage


def drop_history(services, memory_id):
    services.data.delete(services.keys.history(memory_id))


def leave_the_index(services, memory_id):
    """Another index takes the alias, as a rebuilt one does, and does not look at what was there before."""
    name, field = services.keys.index("rebuilt"), services.settings.space.field
    schema = (
        "is_deleted",
        "TAG",
        field,
        "VECTOR",
        "FLAT",
        6,
        "TYPE",
        "FLOAT32",
        "DIM",
        64,
        "DISTANCE_METRIC",
        "COSINE",
    )
    services.data.execute_command(
        *("FT.CREATE", name, "ON", "HASH", "PREFIX", 1, services.keys.memory_prefix, "SKIPINITIALSCAN"),
        *("SCHEMA", *schema),
    )
    services.data.execute_command("FT.ALIASUPDATE", services.keys.index_alias, name)
