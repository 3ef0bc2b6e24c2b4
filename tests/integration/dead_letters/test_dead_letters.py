"""Dead letters: what they carry, how they are chosen, and that a run over many replays each of them once."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest

from emendo_client import AsyncMemoryClient, MemoryClient
from emendo_client.errors import JobError, JobNotFoundError, ValidationError
from emendo_client.exchanges import dead_letter_runs, dead_letter_selection, dead_letters
from emendo_client.exchanges.dead_letter_selection import DeadLetterFilter
from emendo_client.testing.openai_server.faults import Fault
from emendo_config.store import scripts
from emendo_config.store.pipeline import as_text
from emendo_config.store.scripts import execution
from emendo_workers.intake.attempt import BatchRunner
from tests.support.deaths import Killed
from tests.support.intake import added, drain, drain_all, messages_waiting, reconfigure, shard_of_job, with_settings

EVERYTHING = DeadLetterFilter()


def shards_seen(services) -> list[str]:
    return sorted(as_text(shard) for shard in services.control.smembers(services.keys.shards))


def shard_of_record(services, record_id) -> str:
    return as_text(services.control.hget(services.keys.job(record_id), "shard"))


def inbox_entries(services) -> list[str]:
    """The ids of all jobs in the inboxes."""
    found = [entry for shard in shards_seen(services) for entry in services.control.xrange(services.keys.inbox(shard))]
    return [raw[b"job"].decode() for _, raw in found]


def entries_ever(services) -> int:
    """How many entries the inboxes have had."""
    streams = [services.control.xinfo_stream(services.keys.inbox(shard)) for shard in shards_seen(services)]
    return sum(stream["entries-added"] for stream in streams)


@pytest.fixture(autouse=True)
def unbearable(openai_server):
    """The provider refuses texts that say so."""
    openai_server.faults.add(Fault("bad_request", times=10_000, match="unbearable"))


def dead_lettered(services, client, count) -> list[str]:
    """The ids of new dead letters: adds of texts that the provider refuses."""
    jobs = [client.add(f"unbearable {number}", user_id="ana", infer=False) for number in range(count)]
    drain_all(services)
    assert {job.status() for job in jobs} == {"failed"}
    return [job.id for job in jobs]


def dead_ids(client) -> set[str]:
    return {letter.job_id for letter in client.dead_letters(1_000)}


@pytest.fixture
def small_pages(monkeypatch):
    monkeypatch.setattr(dead_letter_selection, "PAGE", 5)


# The fields of a dead letter.


def test_a_dead_letter_carries_its_payload_its_error_and_its_attempts(services, client, openai_server):
    reconfigure(services, max_attempts=2)
    openai_server.faults.add(Fault("unavailable", times=100))
    job = client.add("a private text", user_id="ana", infer=False)
    drain(services, job)
    first_attempt = job.info().started_at
    services.control.xadd(services.keys.inbox(shard_of_job(services, job)), {"job": job.id})
    drain(services, job)
    (letter,) = client.dead_letters()
    assert (letter.job_id, letter.kind, letter.status, letter.attempts) == (job.id, "add", "failed", 2)
    assert letter.error["code"] == "PROVIDER_FAILING"
    assert letter.first_attempt_at == first_attempt
    assert letter.submitted_at < letter.first_attempt_at < letter.last_attempt_at < letter.finished_at
    assert [(operation["op"], operation["text"]) for operation in letter.payload] == [("add", "a private text")]
    assert "private" not in repr(letter)
    assert client.dead_letter(job.id) == letter


def test_a_dead_letters_first_attempt_stays_when_it_fails_again(services, client):
    (job_id,) = dead_lettered(services, client, 1)
    first = client.dead_letter(job_id)
    client.replay(job_id)
    drain_all(services)
    again = client.dead_letter(job_id)
    assert (again.first_attempt_at, again.attempts) == (first.first_attempt_at, 1)
    assert again.last_attempt_at > first.last_attempt_at


def test_only_a_dead_letter_is_one(services, client):
    memory_id = added(services, client)
    done = client.update(memory_id, "done")
    drain(services, done)
    (gone,) = dead_lettered(services, client, 1)
    client.discard(gone)
    for job_id in (done.id, gone):
        for attempt in (client.dead_letter, client.replay, client.discard):
            with pytest.raises(JobError) as refused:
                attempt(job_id)
            assert refused.value.error_code == "JOB_NOT_DEAD"
    for attempt in (client.dead_letter, client.replay, client.discard):
        with pytest.raises(JobNotFoundError):
            attempt("no-such-job")


def test_of_two_operators_who_replay_one_dead_letter_one_is_told(services, client):
    (job_id,) = dead_lettered(services, client, 1)
    client.replay(job_id)
    with pytest.raises(JobError, match="it is queued"):
        client.replay(job_id)
    assert inbox_entries(services) == [job_id]


# Choosing.


@pytest.fixture
def assorted(services, client, openai_server) -> dict[str, str]:
    """Dead letters of three kinds, oldest first: their job ids by name."""
    memory_id = added(services, client)
    refused = client.update(added(services, client), "unbearable")
    drain(services, refused)
    reconfigure(services, max_attempts=1)
    openai_server.faults.add(Fault("unavailable", times=20, match="unavailable"))
    failing = client.update(memory_id, "unavailable")
    drain(services, failing)
    add = client.add([{"role": "user", "content": f"unbearable {n}"} for n in range(2)], user_id="ana", infer=False)
    drain(services, add)
    return {"refused": refused.id, "failing": failing.id, "add": add.id, "memory": memory_id}


def test_dead_letters_are_listed_newest_first_up_to_the_limit(client, assorted):
    newest_first = [assorted["add"], assorted["failing"], assorted["refused"]]
    assert [letter.job_id for letter in client.dead_letters()] == newest_first
    assert [letter.job_id for letter in client.dead_letters(2)] == newest_first[:2]


def test_dead_letters_are_chosen_by_kind_code_memory_and_time(client, assorted):
    def found(**wanted):
        names = {job_id: name for name, job_id in assorted.items()}
        return sorted(names[letter.job_id] for letter in client.dead_letters(**wanted))

    assert found(kind="update") == ["failing", "refused"]
    assert found(kind="update", error_code="EMBEDDING") == ["refused"]
    assert found(error_code="PROVIDER_FAILING") == ["failing"]
    assert found(kind="delete") == []
    assert found(memory_id=assorted["memory"]) == ["failing"]
    # A job on several memories is found by each of them.
    for operation in client.dead_letter(assorted["add"]).payload:
        assert found(memory_id=operation["memory_id"]) == ["add"]
    died = client.dead_letter(assorted["failing"]).finished_at
    assert found(before=died) == ["refused"]
    assert found(after=died) == ["add", "failing"]
    assert found(after=died.isoformat(), before=died + timedelta(microseconds=1)) == ["failing"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": ""},
        {"error_code": 7},
        {"memory_id": "a b"},
        {"before": "yesterday"},
        {"after": datetime(2026, 1, 1)},  # noqa: DTZ001  # without a time zone on purpose
    ],
)
def test_a_filter_that_cannot_be_meant_is_refused_before_anything_happens(services, client, wrong):
    (job_id,) = dead_lettered(services, client, 1)
    for attempt in (client.dead_letters, client.replay_all, client.discard_all):
        with pytest.raises(ValidationError):
            attempt(**wrong)
    assert dead_ids(client) == {job_id}


def test_the_limit_is_reached_over_many_pages(services, client, small_pages):
    made = dead_lettered(services, client, 12)
    found = [letter.job_id for letter in client.dead_letters(11)]
    assert len(set(found)) == 11
    assert set(found) < set(made)


# Runs over many.


def test_a_run_replays_all_and_wakes_each_shard_once(services, client):
    made = dead_lettered(services, client, 40)
    shards = {shard_of_record(services, job_id) for job_id in made}
    before = messages_waiting(services)
    seen = []
    assert client.replay_all(on_progress=seen.append) == 40
    assert messages_waiting(services) - before == len(shards)
    assert sorted(inbox_entries(services)) == sorted(made)
    assert client.dead_letters() == []
    assert [(now.examined, now.total, now.done) for now in seen] == [(40, 40, 40)]


def test_a_shard_is_not_woken_again_for_the_next_page(services, client, small_pages):
    with_settings(services, client, ring_ttl=60.0)
    for _ in range(4):  # each of another microsecond, so that there are several pages
        dead_lettered(services, client, 16)
    for shard in shards_seen(services):
        services.control.delete(services.keys.wakeup(shard))
    shards = {shard_of_record(services, job_id) for job_id in dead_ids(client)}
    before, seen = messages_waiting(services), []
    assert client.replay_all(on_progress=seen.append) == 64
    assert len(seen) > 1
    assert messages_waiting(services) - before == len(shards)


def test_a_run_passes_over_nothing_that_failed_in_one_microsecond(services, client, small_pages):
    """One drain dead-letters a whole batch at once; a page must not break in its middle while some are removed."""
    with_settings(services, client, inbox_shards=1)
    memory_ids = [added(services, client, f"fact {n}") for n in range(13)]
    stay = [client.add(f"unbearable {n}", user_id="ana", infer=False) for n in range(13)]
    go = [client.update(memory_id, "unbearable") for memory_id in memory_ids]
    drain(services, stay[0])
    letters = services.control.zrange(services.keys.dead(client.project), 0, -1, withscores=True)
    assert len({score for _, score in letters}) == 1
    assert client.replay_all(kind="update") == 13
    assert sorted(inbox_entries(services)) == sorted(job.id for job in go)
    assert dead_ids(client) == {job.id for job in stay}


def test_a_run_holds_one_page_however_many_dead_letters_there_are(services, client, small_pages, monkeypatch):
    for _ in range(6):
        dead_lettered(services, client, 3)
    sizes = []
    real = execution.round_trip

    def send(connection, commands, *more):
        replies = real(connection, commands, *more)
        sizes.append(max(len(commands), *(len(reply) for reply in replies if isinstance(reply, list)), 0))
        return replies

    monkeypatch.setattr(execution, "round_trip", send)
    assert client.replay_all(kind="add") == 18
    assert max(sizes) <= 2 * (5 + 3)  # ids with their scores: a page, and those that share its last microsecond


def test_dead_letters_are_replayed_in_the_order_of_submission(services, client, monkeypatch):
    memory_id = added(services, client)
    jobs = [client.update(memory_id, f"unbearable {n}") for n in range(3)]
    drain(services, jobs[0])
    newest_died_first = {job.id: 1_000 - number for number, job in enumerate(jobs)}
    services.control.zadd(services.keys.dead(client.project), newest_died_first)
    client.replay_all()
    assert inbox_entries(services) == [job.id for job in jobs]


def test_a_dead_letter_that_fails_again_during_the_run_is_left_for_the_next(services, client, small_pages):
    made = [job_id for _ in range(4) for job_id in dead_lettered(services, client, 5)]
    before = entries_ever(services)
    assert client.replay_all(on_progress=lambda _: drain_all(services)) == 20
    assert entries_ever(services) - before == 20
    assert dead_ids(client) == set(made)


def test_a_clock_that_steps_back_replays_no_dead_letter_twice(services, client, small_pages):
    """Dead letters that fail again may then look older than the run; their records know better."""
    for _ in range(3):
        dead_lettered(services, client, 4)
    before = entries_ever(services)
    run = client._run(dead_letter_runs.begin(client._keys, client.project, EVERYTHING))

    def die_in_the_past(_):
        drain_all(services)
        for job_id in dead_ids(client):
            if services.control.hget(services.keys.job(job_id), "replayed_by"):
                services.control.zadd(services.keys.dead(client.project), {job_id: int(run.highest)})

    client.replay_all(on_progress=die_in_the_past)
    assert entries_ever(services) - before == 12
    assert len(dead_ids(client)) == 12


def test_two_runs_at_once_share_the_dead_letters_between_them(services, client, small_pages, emendo_settings):
    made = []
    for _ in range(6):
        made += dead_lettered(services, client, 10)
    barrier, counts = threading.Barrier(2), []

    def run():
        with MemoryClient(emendo_settings) as operator:
            barrier.wait()
            counts.append(operator.replay_all())

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(counts) == 60
    assert sorted(inbox_entries(services)) == sorted(made)


def test_a_run_leaves_a_dead_letter_alone_that_another_replayed_and_that_failed_again_meanwhile(services, client):
    (job_id,) = dead_lettered(services, client, 1)
    run = client._run(dead_letter_runs.begin(client._keys, client.project, EVERYTHING))
    slow = dead_letter_runs.replay_page(client.settings, client._keys, client.project, run)
    replies = []
    for _ in range(2):  # the ids, then the records: all it knows before it acts
        batch = slow.send(replies or None)
        replies = scripts.run(client._connections.control, batch.commands)
    batch = slow.send(replies)
    assert client.replay_all() == 1
    drain_all(services)
    with pytest.raises(StopIteration):
        slow.send(scripts.run(client._connections.control, batch.commands))
    assert run.done == 0
    assert dead_ids(client) == {job_id}


def test_a_page_whose_answer_was_lost_is_answered_again_and_done_once(services, client):
    """redis-py sends a pipeline again when the connection broke before the reply."""
    made = dead_lettered(services, client, 8)
    run = client._run(dead_letter_runs.begin(client._keys, client.project, EVERYTHING))
    page = dead_letter_runs.replay_page(client.settings, client._keys, client.project, run)
    batch = next(page)
    for _ in range(2):
        batch = page.send(scripts.run(client._connections.control, batch.commands))
    first, second = (scripts.run(client._connections.control, batch.commands) for _ in range(2))
    assert first == second
    assert {word for word, _ in first} == {b"replayed"}
    with pytest.raises(StopIteration) as end:
        page.send(second)
    assert run.done == 8
    assert set(end.value.value) == {shard_of_record(services, job_id) for job_id in made}
    assert sorted(inbox_entries(services)) == sorted(made)


def test_a_broker_that_is_away_is_asked_once_and_the_jobs_are_in_their_inboxes(services, client, monkeypatch):
    made = dead_lettered(services, client, 20)
    asked = []
    monkeypatch.setattr(client._notifier, "notify", lambda shard: bool(asked.append(shard)))
    assert client.replay_all() == 20
    assert len(asked) == 1
    assert sorted(inbox_entries(services)) == sorted(made)


def test_discarding_drops_the_payloads_and_keeps_the_records_for_a_while(services, client, small_pages):
    made = dead_lettered(services, client, 12)
    memory_id = added(services, client)
    other = client.update(memory_id, "unbearable")
    drain(services, other)
    seen = []
    assert client.discard_all(kind="add", on_progress=seen.append) == 12
    assert (seen[-1].done, seen[-1].total) == (12, 13)
    assert dead_ids(client) == {other.id}
    for job_id in made:
        assert client.job(job_id).status() == "failed"
        record = services.keys.job(job_id)
        assert services.control.hget(record, "payload") is None
        assert 0 < services.control.ttl(record) <= client.settings.job_ttl
    assert client.discard_all() == 1


def test_a_repeated_discard_repeats_its_answer(services, client):
    (job_id,) = dead_lettered(services, client, 1)
    command = dead_letters.discard_command(client.settings, client._keys, client.project, job_id, run_id="a run")
    other = dead_letters.discard_command(client.settings, client._keys, client.project, job_id, run_id="another")
    replies = scripts.run(client._connections.control, [command, command, other])
    assert replies == [b"discarded", b"discarded", b"failed"]


def test_other_projects_dead_letters_are_out_of_reach(services, client, emendo_settings):
    (theirs,) = dead_lettered(services, client, 1)
    with MemoryClient(emendo_settings, project="another") as stranger:
        assert stranger.dead_letters() == []
        assert stranger.replay_all() == stranger.discard_all() == 0
        for attempt in (stranger.dead_letter, stranger.replay, stranger.discard):
            with pytest.raises(JobNotFoundError):
                attempt(theirs)
    assert dead_ids(client) == {theirs}
    assert inbox_entries(services) == []


def test_nothing_to_replay_is_no_failure(client):
    assert client.replay_all(before=datetime.now(UTC)) == client.discard_all() == 0


async def test_the_async_client_does_the_same(services, client, emendo_settings):
    made = dead_lettered(services, client, 9)
    async with AsyncMemoryClient(emendo_settings) as twin:
        assert {letter.job_id for letter in await twin.dead_letters(kind="add")} == set(made)
        assert (await twin.dead_letter(made[0])).job_id == made[0]
        await twin.discard(made[0])
        assert (await twin.replay(made[1])).id == made[1]
        seen = []
        assert await twin.replay_all(kind="add", on_progress=seen.append) == 7
        assert seen[-1].done == 7
        drain_all(services)
        assert await twin.discard_all(error_code="EMBEDDING") == 8
    assert dead_ids(client) == set()


# Batch jobs.


@pytest.fixture
def dead_chunks(services, client, openai_server):
    """A batch update of four memories in two chunks, with one dead item each; the job, and the memories' ids."""
    with_settings(services, client, chunk_items=2)
    memory_ids = [added(services, client, f"fact {number}") for number in range(4)]
    texts = ("fine 0", "unbearable 1", "fine 2", "unbearable 3")
    job = client.batch_update(
        [{"memory_id": memory_id, "text": text} for memory_id, text in zip(memory_ids, texts, strict=True)]
    )
    drain_all(services)
    openai_server.faults.clear()
    assert job.status() == "partially_succeeded"
    return job, memory_ids


def test_each_dead_chunk_is_a_dead_letter_that_says_which_of_its_items_failed(client, dead_chunks):
    job, memory_ids = dead_chunks
    letters = {letter.job_id: letter for letter in client.dead_letters(kind="batch_update")}
    assert letters.keys() == {f"{job.id}:0", f"{job.id}:1"}
    letter = letters[f"{job.id}:1"]
    assert client.dead_letter(letter.job_id) == letter
    assert [operation["text"] for operation in letter.payload] == ["fine 2", "unbearable 3"]
    assert [item.error is None for item in letter.results] == [True, False]
    assert [found.job_id for found in client.dead_letters(memory_id=memory_ids[1])] == [f"{job.id}:0"]
    with pytest.raises(JobError, match="its chunks"):
        client.dead_letter(job.id)


@pytest.mark.parametrize("how", ["all", "the job", "one by one"])
def test_replayed_chunks_complete_their_job_and_repeat_nothing(services, client, dead_chunks, how):
    job, memory_ids = dead_chunks
    if how == "all":
        assert client.replay_all() == 2
    elif how == "the job":
        assert client.replay(job.id).id == job.id
    else:
        for letter in client.dead_letters():
            client.replay(letter.job_id)
    assert job.status() == "running"
    drain_all(services)
    result = job.wait(1)
    assert result.status == "succeeded"
    assert [item.memory for item in result.results] == ["fine 0", "unbearable 1", "fine 2", "unbearable 3"]
    assert [len(client.history(memory_id)) for memory_id in memory_ids] == [2, 2, 2, 2]
    assert dead_ids(client) == set()


@pytest.mark.parametrize("command", [dead_letters.replay_command, dead_letters.discard_command])
def test_a_chunk_is_taken_out_of_its_jobs_account_once(services, client, dead_chunks, command):
    job, _ = dead_chunks
    chunk = f"{job.id}:0"
    how = {"run_id": "a run"}
    if command is dead_letters.replay_command:
        how |= {"shard": shard_of_record(services, chunk), "wakeup_id": "a ring"}
    call = command(client.settings, client._keys, client.project, chunk, **how)
    (first,) = scripts.run(client._connections.control, [call])
    account = services.control.hgetall(services.keys.job(job.id))
    (second,) = scripts.run(client._connections.control, [call])
    assert first == second
    assert services.control.hgetall(services.keys.job(job.id)) == account
    assert account[b"dead"] == b"1"


def test_a_batch_jobs_record_goes_with_its_last_dead_letter(services, client, dead_chunks):
    job, _ = dead_chunks
    record = services.keys.job(job.id)
    client.discard(f"{job.id}:0")
    assert services.control.ttl(record) == -1
    assert client.discard_all() == 1
    assert 0 < services.control.ttl(record) <= client.settings.job_ttl


# Effects.


def test_a_dead_letter_whose_effect_was_committed_gives_the_first_result_when_replayed(services, client, monkeypatch):
    """Its workers died after the commit, before the outcome was recorded, until it was given up as poison."""
    memory_id = added(services, client)
    job = client.update(memory_id, "I enjoy seafood.")
    client.update(memory_id, metadata={"topic": "food"})
    with monkeypatch.context() as patch:
        patch.setattr(BatchRunner, "_finish", lambda *_: (_ for _ in ()).throw(Killed))
        for _ in range(services.settings.poison_deliveries):
            with pytest.raises(Killed):
                drain(services, job)
            services.control.delete(services.keys.wakeup(shard_of_job(services, job)))
    drain(services, job)
    assert client.dead_letter(job.id).error["code"] == "POISON"
    history = client.history(memory_id)
    services.data.delete(services.keys.lock(memory_id))  # the dead workers' leases run out
    assert client.replay_all(error_code="POISON") == 1
    drain(services, job)
    result = job.wait(1)
    assert (result.status, result.error) == ("succeeded", None)
    assert [(item.event, item.version, item.memory) for item in result.results] == [("UPDATE", 2, "I enjoy seafood.")]
    assert client.history(memory_id) == history
    assert [entry.version for entry in history] == [1, 2, 3]
    assert dead_ids(client) == set()
