"""Searches by meaning and words together, and their thresholds."""

from __future__ import annotations

import json
import math
import unicodedata

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from emendo_client import AsyncMemoryClient, MemoryClient
from emendo_client.errors import ConfigurationError, ValidationError
from emendo_client.records.words import words_of
from emendo_config.spaces.bootstrap import ensure_index
from emendo_config.spaces.indexes import described
from emendo_workers.maintenance.housekeeping import keep_house
from tests.model.hostile_inputs import CLASSICS
from tests.support.inferring import started
from tests.support.intake import added, drain, drain_all
from tests.support.patience import until

CODES = ["Order AB-1234/X was shipped", "Order AB-1235/X was shipped", "Call “4711”\nafter nine", "MÜLLER likes apples"]


@pytest.fixture
def settings(emendo_settings):
    return emendo_settings.model_copy(update={"index_text": True})


@pytest.fixture
def filled(services, client):
    """Codes among many memories that are nearer to any query by chance."""
    for text in [*CODES, *(f"the sea is {word}" for word in ("blue", "wide", "deep", "cold", "calm", "warm"))]:
        client.add(text, user_id="ana", infer=False)
    drain_all(services)


def texts(hits):
    return [hit.memory for hit in hits]


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("where is AB-1234?", CODES[0]),
        ("ab 1235", CODES[1]),
        ("4711", CODES[2]),
        ("müller", CODES[3]),
        ("Muller", CODES[3]),
    ],
)
@pytest.mark.usefixtures("filled")
def test_names_numbers_and_codes_are_found_first(client, query, text):
    hits = client.search(query, user_id="ana", mode="hybrid", limit=3)
    assert texts(hits)[0] == text
    assert len(hits) == 3, "the vector finds the others"
    scores = [hit.score for hit in hits]
    assert scores == sorted(scores, reverse=True)
    assert 0.5 < scores[0] <= 1.0


@pytest.mark.usefixtures("filled")
async def test_both_clients_find_the_same(client, settings):
    asked = {"user_id": "ana", "mode": "hybrid", "limit": 5}
    async with AsyncMemoryClient(settings) as other:
        assert await other.search("AB-1234", **asked) == client.search("AB-1234", **asked)


@pytest.mark.usefixtures("filled")
def test_the_score_is_the_fused_rank(client):
    """The nearest memory is also the one with the words, so it is first in both halves."""
    hit, *others = client.search(CODES[0], user_id="ana", mode="hybrid")
    assert (hit.memory, hit.score) == (CODES[0], 1.0)
    assert texts(others)[0] == CODES[1], "it shares words, too"


def test_every_word_counts_whatever_order_redis_has_the_memories_in(services, settings):
    """Redis counts one of several alternatives only, if they stand beside other clauses; the order decides which."""
    for number in range(20):
        texts_of_one = CODES[:2] if number % 2 else CODES[1::-1]
        with MemoryClient(settings, project=f"p{number}") as client:
            for text in [*texts_of_one, f"order of x, shipped {number}"]:
                client.add(text, user_id="ana", infer=False)
            drain_all(services)
            assert client.search("AB 1234 order x", user_id="ana", mode="hybrid")[0].memory == CODES[0]


@pytest.mark.usefixtures("filled")
def test_a_query_without_words_is_answered_by_the_vector_alone(client):
    hits = client.search("?! …", user_id="ana", mode="hybrid", limit=50)
    assert texts(hits) == texts(client.search("?! …", user_id="ana", limit=50))
    assert hits[0].score == 0.5


def test_scope_filters_and_deleted_memories_hold_for_words_too(services, client, settings):
    kept = added(services, client, "code 4711 a", metadata={"k": 1})
    deleted = added(services, client, "code 4711 b", metadata={"k": 1})
    erased = added(services, client, "code 4711 c", metadata={"k": 1})
    added(services, client, "code 4711 d", metadata={"k": 2})
    client.add("code 4711 e", user_id="bob", infer=False, metadata={"k": 1})
    with MemoryClient(settings, project="another") as other:
        other.add("code 4711 f", user_id="ana", infer=False, metadata={"k": 1})
        drain_all(services)
    drain(services, client.delete(deleted))
    drain(services, client.delete(erased, hard=True))
    hits = client.search("4711", user_id="ana", mode="hybrid", filters={"metadata": {"k": 1}})
    assert [hit.id for hit in hits] == [kept]
    assert not services.data.hexists(services.keys.memory(erased), "words")


def test_a_filter_that_the_index_cannot_decide_holds_for_words_too(services, client):
    kept = added(services, client, "code 4711 a", metadata={"price": 7})
    added(services, client, "code 4711 b", metadata={"price": 3})
    asked = {"user_id": "ana", "filters": {"metadata": {"price": {"gte": 5}}}}
    assert [hit.id for hit in client.search("4711", mode="hybrid", **asked)] == [kept]
    assert [memory.id for memory in client.iter_all(page_size=1, **asked)] == [kept]
    assert client.count(**asked) == 1


def test_a_word_as_long_as_the_index_takes_is_found_in_each_script(services, client):
    """Characters of one to four bytes. Redis cuts what it indexes, and not what it looks for."""
    words = [character * length for character in "xф\u10d0\U00010428" for length in (32, 33, 43, 64, 70)]
    client.batch_add([{"messages": word, "user_id": word[:32]} for word in words], infer=False)
    drain_all(services)
    for word in words:
        hits = client.search(word, user_id=word[:32], mode="hybrid")
        assert any(hit.memory == word and hit.score > 0.5 for hit in hits), (ascii(word[0]), len(word))


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("서울에서 친구를 만났다", "서울"),
        ("서울에서 친구를 만났다", unicodedata.normalize("NFD", "친구")),
        ("東京タワーへ行った", "タワー"),
        ("我喜欢\U00020bb7野家的饭", "野家"),
        ("ㄅㄆㄇㄈ", "ㄆㄇ"),
        ("ผมชอบกินปลา", "กิน"),
        ("ຂ້ອຍມັກກິນປາ", "ກິນ"),
        ("ខ្ញុំចូលចិត្តត្រី", "ចិត្ត"),
        ("ငါးစားရတာကြိုက်တယ်", "စား"),
    ],
    ids=["Korean", "Korean, decomposed", "Japanese", "Chinese", "Bopomofo", "Thai", "Lao", "Khmer", "Burmese"],
)
def test_a_part_of_a_text_without_spaces_is_found(services, client, text, part):
    added(services, client, text)
    (hit,) = client.search(part, user_id="ana", mode="hybrid")
    assert hit.score == 1.0, "the words find it, too"


def test_words_follow_the_text(services, client):
    memory_id = added(services, client, "code 4711")
    added(services, client, "something else")
    drain(services, client.update(memory_id, "code 4712"))
    assert client.search("4712", user_id="ana", mode="hybrid")[0].id == memory_id
    assert services.data.hget(services.keys.memory(memory_id), "words") == b"code 4712"
    drain(services, client.restore(memory_id, 1))
    assert services.data.hget(services.keys.memory(memory_id), "words") == b"code 4711"


@pytest.mark.slow  # a whole re-embedding by worker processes
def test_a_store_without_words_says_what_to_do_and_is_extended_while_in_use(emendo_settings, openai_server):
    """The setting is turned on later: a worker extends the index, and housekeeping gives the memories their words."""
    before = started(emendo_settings)
    try:
        with MemoryClient(emendo_settings) as client:
            ids = [added(before, client, f"code 471{n}") for n in range(5)]
            drain(before, client.delete(ids[4], hard=True))
            assert not before.data.hexists(before.keys.memory(ids[0]), "words")
            with pytest.raises(ConfigurationError, match="EMENDO_INDEX_TEXT=true"):
                client.search("4711", user_id="ana", mode="hybrid")
    finally:
        before.stop()
    later = started(emendo_settings.model_copy(update={"index_text": True}))
    try:
        now = later.store.control_time()
        assert keep_house(later.store, later.notifier, now)["words"] == 4
        assert keep_house(later.store, later.notifier, now + 90_000)["words"] == 0, "a second pass finds nothing"
        until(lambda: not described(later.data, later.keys.index_alias).is_filling)
        with MemoryClient(emendo_settings) as client:
            assert client.search("4713", user_id="ana", mode="hybrid")[0].id == ids[3]
            # A worker without the setting changes a text: the old words stay until the next pass.
            later.data.hset(later.keys.memory(ids[0]), "words", "stale")
            assert keep_house(later.store, later.notifier, now + 180_000)["words"] == 1
    finally:
        later.stop()


def test_without_the_setting_nothing_is_written_or_indexed(emendo_settings, openai_server):
    services = started(emendo_settings)
    try:
        assert "words" not in described(services.data, services.keys.index_alias).fields
        ensure_index(services.data, emendo_settings)
        assert "words" not in described(services.data, services.keys.index_alias).fields
    finally:
        services.stop()


SYNTAX = "*|{}[]()@$:%-~=>\\\"'`,.;<>!?&^#/ u12é猫\u0301\t\n\x00"
HOSTILE = [
    "a|b) @project:{another}",
    "*",
    ") | (@project:{another}",
    "@words:(x) => { $weight: 5.0; }",
    "w'*'",
    "%%fuzzy%%",
    "-x ~y $word0 $vector",
    "* =>[KNN 10 @vector $vector]",
    "x" * 5_000,
    " ".join(f"w{n}" for n in range(3_000)),
    "the and of",
]


@hypothesis_settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(st.sampled_from([*HOSTILE, *CLASSICS]), st.text(SYNTAX, min_size=1, max_size=30), st.text(min_size=1)))
@pytest.mark.usefixtures("filled")
def test_no_query_is_read_as_syntax(services, client, settings, query):
    with MemoryClient(settings, project="another") as other:
        if not other.count(all_users=True):
            other.add("secret u12 x word0 猫 é", user_id="ana", infer=False)
            drain_all(services)
    try:
        hits = client.search(query, user_id="ana", mode="hybrid", limit=100)
    except ValidationError:
        return
    assert len(hits) == 10, "the vector finds all of the scope's memories, and no words add others"
    assert not any("secret" in hit.memory for hit in hits)


@given(st.text())
def test_words_are_letters_and_digits(text):
    assert all(word.isalnum() for word in words_of(text))


def test_a_text_is_as_similar_to_itself_as_can_be(services, client):
    """Redis computes in single precision, where many a cosine of a vector and itself is not quite 1."""
    said = [f"thing {number} of {number**2}" for number in range(60)]
    client.batch_add([{"messages": text, "user_id": "ana"} for text in said], infer=False)
    drain_all(services)
    for text in said:
        (hit,) = client.search(text, user_id="ana", threshold=1)
        assert (hit.memory, hit.score) == (text, 1.0)


@pytest.mark.parametrize("mode", ["vector", "hybrid"])
@pytest.mark.usefixtures("filled")
def test_a_threshold_leaves_out_what_scores_less(client, mode):
    every = client.search("AB-1234", user_id="ana", mode=mode)
    for bound in (every[0].score, every[4].score, (every[4].score + every[5].score) / 2, -1, -1e308):
        hits = client.search("AB-1234", user_id="ana", mode=mode, threshold=bound)
        assert hits == [hit for hit in every if hit.score >= bound]
    assert client.search("AB-1234", user_id="ana", mode=mode, threshold=1.01) == []


@pytest.mark.parametrize(
    ("asked", "problem"),
    [
        ({"threshold": "0.5"}, "threshold is of type str"),
        ({"threshold": True}, "threshold is of type bool"),
        ({"threshold": math.nan}, "threshold is nan"),
        ({"threshold": math.inf}, "threshold is inf"),
        ({"mode": "fulltext"}, "mode is unknown"),
        ({"mode": None}, "mode is unknown"),
    ],
)
def test_what_cannot_be_searched_is_refused(client, asked, problem):
    with pytest.raises(ValidationError, match=problem):
        client.search("x", user_id="ana", **asked)


@pytest.mark.usefixtures("filled")
def test_the_command_searches_by_words_and_threshold(settings, cli):
    code, out, _ = cli(settings, "search", "4711", "--user", "ana", "--mode", "hybrid", "--json")
    hits = json.loads(out)
    assert (code, hits[0]["memory"]) == (0, CODES[2])
    bound = str(hits[0]["score"])
    _, out, _ = cli(settings, "search", "4711", "--user", "ana", "--mode", "hybrid", "--threshold", bound, "--json")
    assert [hit["memory"] for hit in json.loads(out)] == [CODES[2]]
