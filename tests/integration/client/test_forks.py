"""A client that was used before a fork works in every child: no process gets another one's answers."""

from __future__ import annotations

import os
import signal
import threading
import traceback

import pytest

from emendo_client import MemoryClient
from emendo_config import forks
from emendo_config.spaces.bootstrap import ensure_index
from emendo_config.store.connections import connect
from tests.support.patience import until

CHILDREN, SEARCHES = 4, 60


@pytest.fixture
def preloaded(emendo_settings, openai_server):
    """A client whose connections and locks were used before anybody forks."""
    settings = emendo_settings.model_copy(update={"embedding_lru_bytes": 1 << 20})
    with connect(settings.redis_url, settings) as data:
        ensure_index(data, settings)
    with MemoryClient(settings) as client:
        client.add("warm", user_id="ana", infer=False)
        client.search("warm", user_id="ana")
        yield client


def forked(work) -> int:
    """Runs the work in a child, which ends with 0 only when it returned."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        work()
        code = 0
    except BaseException:  # noqa: BLE001  # the child only says so and ends
        traceback.print_exc()
    finally:
        os._exit(code)


def all_succeed(pids: list[int]) -> None:
    codes: list[int] = []
    try:
        codes.extend(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids)
    finally:
        for pid in pids[len(codes) :]:  # the test's time is up: a child must not outlive it
            os.kill(pid, signal.SIGKILL)
    assert codes == [0] * len(pids)


def vectors_are_right(client: MemoryClient, name: str) -> None:
    """Each query's vector is that of its text, in the answer and in the cache."""
    space = client._look_up_space()
    with MemoryClient(client.settings) as fresh:
        for number in range(SEARCHES):
            query = f"query {number} of {name}"
            expected = fresh._queries.embed(query, space)
            assert client._queries.embed(query, space) == expected
            assert client._queries.embed(query, space) == expected


def test_children_search_with_their_own_vectors(preloaded):
    pids = [forked(lambda n=n: vectors_are_right(preloaded, f"child {n}")) for n in range(CHILDREN)]
    vectors_are_right(preloaded, "the parent")
    all_succeed(pids)


def test_children_write_and_read_over_their_own_connections(preloaded):
    def write() -> None:
        for number in range(20):
            job = preloaded.add(f"fact {number} of {os.getpid()}", user_id="ana", infer=False)
            assert job.info().job_id == job.id

    pids = [forked(write) for _ in range(CHILDREN)]
    write()
    all_succeed(pids)


def test_a_lock_that_a_thread_holds_at_the_fork_does_not_stop_the_child(preloaded):
    """Each lock of the client is held by another thread while the process forks."""
    embedder = next(iter(preloaded._queries._embedders.values()))
    holders = [preloaded._queries, preloaded._queries._vectors, embedder, preloaded._notifier]
    holders.append(preloaded._connections.shared_senders["control"])
    release, held = threading.Event(), threading.Event()

    def hold() -> None:
        for holder in holders:
            holder._lock.acquire()
        held.set()
        release.wait()
        for holder in holders:
            holder._lock.release()

    thread = threading.Thread(target=hold)
    thread.start()
    until(held.is_set)
    try:

        def use() -> None:
            preloaded.search("something new", user_id="ana")
            preloaded.add("a fact", user_id="ben", infer=False)

        pid = forked(use)
        # The child must not wait for ever: it is given as long as a test has.
        all_succeed([pid])
    finally:
        release.set()
        thread.join()


def test_a_fork_that_runs_no_hooks_of_python_is_noticed_at_the_next_use(preloaded, monkeypatch):
    """uWSGI forks in C. Here the process is the same; the client is told that it began in another one."""
    embedder = next(iter(preloaded._queries._embedders.values()))
    used = embedder._sync, preloaded._notifier._app, preloaded._connections.shared_senders["control"]._lock
    producers = preloaded._notifier._producers
    monkeypatch.setattr(forks, "_process", os.getpid() + 1)
    preloaded.search("something new", user_id="ana")
    for number in range(50):  # one of them is the first of its shard, and is told to the broker
        preloaded.add(f"fact {number}", user_id="ben", infer=False)
    now = embedder._sync, preloaded._notifier._app, preloaded._connections.shared_senders["control"]._lock
    assert all(one is not None and one is not other for one, other in zip(now, used, strict=True))
    assert all(any(held is each for held in forks._of_the_parent) for each in used[:2])  # open, and unused
    used[0].close()  # no parent does it
    producers.force_close_all()
    producers.connections.force_close_all()


def test_the_parent_keeps_its_connections(preloaded, openai_server):
    """A child that ends does not close what the parent uses."""
    openai_server.clear_requests()
    all_succeed([forked(lambda: preloaded.search("in the child", user_id="ana"))])
    preloaded.search("in the parent", user_id="ana")
    assert [request.body["input"] for request in openai_server.requests] == [["in the child"], ["in the parent"]]
