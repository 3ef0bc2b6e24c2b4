"""One asyncio client in several event loops: each loop has its own connections, and they go with the loop."""

from __future__ import annotations

import asyncio
import gc
import os
import threading

import pytest

from emendo_client import AsyncMemoryClient
from emendo_config.spaces.bootstrap import ensure_index
from emendo_config.store.connections import connect


@pytest.fixture
def shared(emendo_settings, openai_server):
    """A client that no loop has used yet."""
    with connect(emendo_settings.redis_url, emendo_settings) as data:
        ensure_index(data, emendo_settings)
    return AsyncMemoryClient(emendo_settings)


async def used(client: AsyncMemoryClient, number: int) -> str:
    job = await client.add(f"fact {number}", user_id="ana", infer=False)
    await client.search(f"query {number}", user_id="ana")
    return (await job.info()).job_id


def test_each_run_of_asyncio_works_with_one_client(shared):
    ids = [asyncio.run(used(shared, number)) for number in range(6)]
    assert len(set(ids)) == 6


def test_a_closed_loop_leaves_no_connections_behind(shared):
    for number in range(5):
        asyncio.run(used(shared, number))
    gc.collect()  # a socket that is not closed would say so now
    assert shared._connections._loops._values == {}


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # nobody could close its connections
def test_a_loop_that_is_closed_without_more_is_forgotten_at_the_next_use(shared):
    loop = asyncio.new_event_loop()
    loop.run_until_complete(used(shared, 1))
    assert loop in shared._connections._loops._values
    loop.close()
    asyncio.run(used(shared, 2))
    assert shared._connections._loops._values == {}
    gc.collect()  # not in a later test


def test_a_loop_that_goes_on_after_its_generators_were_shut_down_opens_new_connections(shared):
    with asyncio.Runner() as runner:
        runner.run(used(shared, 1))
        runner.get_loop().run_until_complete(runner.get_loop().shutdown_asyncgens())
        assert shared._connections._loops._values == {}
        runner.get_loop()._asyncgens_shutdown_called = False  # else asyncio warns of each new generator
        runner.run(used(shared, 2))
        assert len(shared._connections._loops._values) == 1


def test_loops_of_several_threads_at_once(shared):
    ids: list[str] = []
    threads = [threading.Thread(target=lambda n=n: ids.append(asyncio.run(used(shared, n)))) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(ids)) == 8


async def test_a_closed_client_has_closed_the_connections_of_its_loop(emendo_settings, openai_server):
    with connect(emendo_settings.redis_url, emendo_settings) as data:
        ensure_index(data, emendo_settings)
    other = f"{emendo_settings.redis_url}?socket_keepalive=true"  # two planes have connections of their own
    shared = AsyncMemoryClient(emendo_settings.model_copy(update={"control_url": other}))
    await used(shared, 1)
    pools = [client.connection_pool for client in (shared._connections.data, shared._connections.control)]
    assert all(pool._available_connections for pool in pools)
    await shared.close()
    assert not any(connection.is_connected for pool in pools for connection in pool._available_connections)


def test_a_forked_process_begins_without_the_parents_connections(shared):
    loops = shared._connections._loops
    runner = asyncio.Runner()
    runner.run(used(shared, 1))
    assert loops._values
    with loops._lock:  # as if another thread was in the middle of a change
        pid = os.fork()
        if not pid:
            code = 1
            try:
                assert not loops._values
                asyncio.run(used(shared, 2))
                code = 0
            finally:
                os._exit(code)
    runner.run(used(shared, 3))
    runner.close()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
