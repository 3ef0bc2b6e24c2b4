"""The stand-in takes the habits of other servers, and our embedder gets along with them."""

from __future__ import annotations

import array
import json

import openai
import pytest
from openai import OpenAI

from emendo_client.errors import EmbeddingError, NetworkError
from emendo_client.providers.embeddings import create_embedder
from emendo_client.testing import EmbeddingForm, Fault, start_server_process
from emendo_client.testing.openai_server.vectors import embed
from emendo_config import Settings
from emendo_config.error_codes import ErrorCode

pytestmark = pytest.mark.usefixtures("nothing_set")

TEXTS = ["a longer text", "b", "text c"]
SENT = ("dimensions", "encoding_format")


@pytest.fixture
def nothing_set(monkeypatch):
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


def made(server, *, for_queries=False, **more):
    values = {"embedding_base_url": server.base_url, "embedding_dimensions": 64, "embedding_timeout": 5.0, **more}
    return create_embedder(Settings(**values), for_queries=for_queries)


def right(texts, dimensions=64):
    return [embed(text, model="text-embedding-3-small", dimensions=dimensions) for text in texts]


def forms(server) -> list[str]:
    """The status of each request, and the fields it had of those that servers refuse."""
    return [" ".join([str(each.status), *(name for name in SENT if name in each.body)]) for each in server.requests]


FULL = "dimensions encoding_format"
REFUSALS = [
    # The server, the requests for a first text, and those from then on.
    ({"refuses": {"dimensions"}}, [f"400 {FULL}", "200 encoding_format"], "200 encoding_format"),
    ({"refuses": {"encoding_format"}}, [f"400 {FULL}", "200 dimensions"], "200 dimensions"),
    (
        {"refuses": {"encoding_format"}, "names_field": False},
        [f"400 {FULL}", "400 encoding_format", "200 dimensions"],
        "200 dimensions",
    ),
    (
        {"refuses": set(SENT), "names_field": False},
        [f"400 {FULL}", "400 encoding_format", "400 dimensions", "200"],
        "200",
    ),
    (
        {"knows": {"model", "input", "dimensions"}, "status": 422},
        [f"422 {FULL}", "200 dimensions"],
        "200 dimensions",
    ),
    (
        {"knows": {"model", "input"}, "status": 422},
        [f"422 {FULL}", "422 encoding_format", "422 dimensions", "200"],
        "200",
    ),
    ({"refuses": {"dimensions"}, "status": 500}, [f"500 {FULL}", "200 encoding_format"], "200 encoding_format"),
]


@pytest.mark.parametrize(("form", "asked", "later"), REFUSALS)
async def test_a_refused_field_is_left_out_once_it_is_known(server, form, asked, later):
    server.form = EmbeddingForm(dimensions=64, **form)
    embedder = made(server)
    assert embedder.embed(["a"]).vectors == right(["a"])
    assert forms(server) == asked
    server.clear_requests()
    assert embedder.embed(TEXTS).vectors == (await embedder.embed_async(TEXTS)).vectors == right(TEXTS)
    assert forms(server) == [later, later]
    await embedder.close_async()


@pytest.mark.parametrize(("form", "asked", "later"), REFUSALS)
async def test_the_asyncio_twin_finds_the_same(server, form, asked, later):
    server.form = EmbeddingForm(dimensions=64, **form)
    embedder = made(server)
    assert (await embedder.embed_async(["a"])).vectors == right(["a"])
    assert forms(server) == asked
    await embedder.close_async()


def test_several_texts_whose_form_is_refused_are_all_answered(server):
    server.form = EmbeddingForm(dimensions=64, refuses={"dimensions"}, names_field=False)
    embedder = made(server)
    assert embedder.embed(TEXTS).vectors == right(TEXTS)
    server.clear_requests()
    assert embedder.embed(TEXTS).vectors == right(TEXTS)
    assert forms(server) == ["200 encoding_format"]


def test_a_server_that_says_500_for_no_reason_is_believed_the_second_time(server):
    server.form = EmbeddingForm(dimensions=64, refuses={"encoding_format"}, status=500, names_field=False)
    embedder = made(server)
    with pytest.raises(NetworkError):
        embedder.embed(["a"])
    assert embedder.embed(["a"]).vectors == right(["a"])
    server.clear_requests()
    assert embedder.embed(["a"]).vectors == right(["a"])
    assert forms(server) == ["200 dimensions"]


def test_a_search_believes_it_at_once_since_nobody_asks_again(server):
    server.form = EmbeddingForm(dimensions=64, refuses={"encoding_format"}, status=500, names_field=False)
    embedder = made(server, for_queries=True)
    assert embedder.embed(["a"]).vectors == right(["a"])
    assert forms(server) == [f"500 {FULL}", "500 encoding_format", "200 dimensions", f"500 {FULL}"]
    server.clear_requests()
    assert embedder.embed(["a"]).vectors == right(["a"])
    assert forms(server) == ["200 dimensions"]


def test_a_server_that_is_down_is_not_asked_for_other_forms_again_soon(server):
    embedder = made(server, for_queries=True)
    server.faults.add(Fault("server_error", rate=1.0))
    for _ in range(3):
        with pytest.raises(NetworkError):
            embedder.embed(["a"])
    assert len(server.requests) == 4 + 1 + 1


def test_a_failing_server_teaches_nothing(server):
    embedder = made(server)
    server.form = EmbeddingForm(dimensions=64)
    server.faults.add(Fault("server_error", times=3))  # it recovers in the middle of the search
    with pytest.raises(NetworkError):
        embedder.embed(["a"])
    assert embedder.embed(["a"]).vectors == right(["a"])
    server.clear_requests()
    assert embedder.embed(["a"]).vectors == right(["a"])
    assert forms(server) == [f"200 {FULL}"]


@pytest.mark.parametrize("kind", ["unavailable", "rate_limit", "timeout", "reset"])
def test_a_failure_that_passes_in_the_middle_of_the_search_teaches_nothing(server, kind):
    server.form = EmbeddingForm(dimensions=64, refuses={"encoding_format"}, names_field=False)
    embedder = made(server, embedding_timeout=0.5)
    server.faults.add(Fault("bad_gateway", times=1))
    with pytest.raises(NetworkError):
        embedder.embed(["a"])
    server.faults.add(Fault(kind, match="b", times=1))
    with pytest.raises(Exception, match="provider"):
        embedder.embed(["b"])
    server.clear_requests()
    assert embedder.embed(["a"]).vectors == right(["a"])
    assert forms(server) == [f"400 {FULL}", "400 encoding_format", "200 dimensions"]


def test_a_refused_text_does_not_change_the_form(server):
    embedder = made(server)
    server.faults.add(Fault("bad_request", match="bad", rate=1.0))
    with pytest.raises(EmbeddingError) as refused:
        embedder.embed(["bad"])
    assert refused.value.error_code == ErrorCode.EMBEDDING
    assert embedder.embed(["a"]).vectors == right(["a"])
    assert forms(server) == [f"400 {FULL}", f"200 {FULL}"]


def test_a_form_that_was_accepted_is_not_doubted(server):
    embedder = made(server)
    embedder.embed(["a"])
    server.clear_requests()
    server.form = EmbeddingForm(max_inputs=1)
    with pytest.raises(EmbeddingError):
        embedder.embed(TEXTS)
    assert forms(server) == [f"400 {FULL}"]


def test_unless_the_refusal_names_it(server):
    embedder = made(server)
    embedder.embed(["a"])
    server.form = EmbeddingForm(dimensions=64, refuses={"dimensions"})  # the gateway has another server behind it now
    assert embedder.embed(TEXTS).vectors == right(TEXTS)


@pytest.mark.parametrize("refuses", [{"dimensions"}, set()], ids=["refuses", "ignores"])
def test_a_model_of_another_length_is_named_with_both_numbers(server, refuses):
    server.form = EmbeddingForm(dimensions=24, refuses=refuses)
    with pytest.raises(EmbeddingError) as failure:
        made(server, embedding_model="bge-small").embed(["a"])
    assert failure.value.message == "bge-small gives vectors of 24 dimensions, but 64 are asked for"
    assert "EMENDO_EMBEDDING_DIMENSIONS=24" in failure.value.suggestion
    assert failure.value.error_code == ErrorCode.EMBEDDING_MALFORMED


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"embedding_send_dimensions": "never"}, "200 encoding_format"),
        ({"embedding_send_encoding_format": "never"}, "200 dimensions"),
        ({"embedding_model": "text-embedding-ada-002"}, "200 encoding_format"),
        ({"embedding_model": "text-embedding-ada-002", "embedding_send_dimensions": "always"}, f"200 {FULL}"),
    ],
)
def test_settings_say_what_is_sent(server, settings, expected):
    server.form = EmbeddingForm(dimensions=64)
    made(server, **settings).embed(["a"])
    assert forms(server) == [expected]


def test_what_settings_always_send_is_never_left_out(server):
    server.form = EmbeddingForm(dimensions=64, refuses={"dimensions"})
    with pytest.raises(EmbeddingError):
        made(server, embedding_send_dimensions="always").embed(["a"])
    assert all("dimensions" in each.body for each in server.requests)


@pytest.mark.parametrize("encoding", ["float", "base64"])
@pytest.mark.parametrize("sent", ["always", "never"])
def test_lists_and_base64_are_read_whatever_was_asked(server, encoding, sent):
    server.form = EmbeddingForm(encoding=encoding)
    assert made(server, embedding_send_encoding_format=sent).embed(TEXTS).vectors == right(TEXTS)


@pytest.mark.parametrize("index", ["not_zero", "never", "reversed", "reversed_not_zero"])
def test_each_text_gets_its_own_vector_wherever_it_stands(server, index):
    server.form = EmbeddingForm(index=index)
    assert made(server).embed(TEXTS).vectors == right(TEXTS)
    assert made(server).embed(["a"]).vectors == right(["a"])


def test_a_server_that_answers_base64_without_a_vector_is_asked_for_lists_and_that_is_remembered(server):
    server.form = EmbeddingForm(encoding="float_only")
    embedder = made(server)
    assert embedder.embed(TEXTS).vectors == right(TEXTS)
    assert embedder.embed(["a"]).vectors == right(["a"])
    assert forms(server) == [f"200 {FULL}", "200 dimensions", "200 dimensions"]
    assert embedder.refused_fields == ("encoding_format",)


def test_an_answer_without_a_vector_in_both_forms_teaches_nothing(server):
    embedder = made(server)
    server.faults.add(Fault("missing_item", times=2))
    with pytest.raises(EmbeddingError, match="0 vectors for 1"):
        embedder.embed(["a"])
    assert embedder.embed(TEXTS).vectors == right(TEXTS)
    assert (forms(server)[-1], embedder.refused_fields) == (f"200 {FULL}", ())


def test_a_list_within_a_list_is_its_only_vector(server):
    server.form = EmbeddingForm(encoding="nested")
    assert made(server).embed(TEXTS).vectors == right(TEXTS)


def test_an_order_that_nobody_can_know_is_malformed(server):
    embedder = made(server)
    server.faults.add(Fault("repeated_index", times=2))
    for texts in (TEXTS, ["a"]):
        with pytest.raises(EmbeddingError, match="index of its vectors is repeated or missing"):
            embedder.embed(texts)


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("zero", "all zeros"),
        ("nan", "NaN"),
        ("infinite", "infinite"),
        ("null", "missing, or no vector"),
        ("empty", "is empty"),
    ],
)
@pytest.mark.parametrize("sent", ["always", "never"])
def test_a_vector_that_no_search_finds_is_an_error(server, kind, says, sent):
    embedder = made(server, embedding_send_encoding_format=sent)
    server.faults.add(Fault(kind, match="b", times=2))
    found = embedder.embed(TEXTS).vectors
    bad = [place for place, text in enumerate(TEXTS) if "b" in text]
    assert [place for place, each in enumerate(found) if isinstance(each, EmbeddingError)] == bad
    assert [each for each in found if isinstance(each, bytes)] == [
        each for place, each in enumerate(right(TEXTS)) if place not in bad
    ]
    with pytest.raises(EmbeddingError, match=says) as failure:
        embedder.embed(["b"])
    assert failure.value.error_code == ErrorCode.EMBEDDING_MALFORMED


def test_a_base_url_with_a_query_and_a_header_is_azure(server):
    server.form = EmbeddingForm(query={"api-version"}, headers={"api-key"})
    with pytest.raises(EmbeddingError):
        made(server, embedding_headers='{"api-key": "k"}').embed(["a"])
    address = f"{server.base_url}?api-version=2024-10-21&x=1%2B1"
    embedder = made(server, embedding_base_url=address, embedding_headers='{"api-key": "k"}')
    assert embedder.embed(["a"]).vectors == right(["a"])
    assert server.requests[-1].path == "/v1/embeddings"


@pytest.mark.parametrize(
    ("settings", "sent"),
    [
        ({"embedding_api_key": "k"}, "Bearer k"),
        ({}, "Bearer none"),
        ({"embedding_headers": '{"api-key": "k"}'}, None),
        ({"embedding_headers": '{"authorization": "Basic eA=="}', "embedding_api_key": "k"}, "Basic eA=="),
        ({"user": "me:p%2Fw@"}, "Basic bWU6cC93"),
        ({"user": "me:p%2Fw@", "embedding_headers": '{"x-tenant": "t"}'}, "Basic bWU6cC93"),
    ],
)
def test_one_authorization_is_sent_and_it_is_the_one_that_is_set(server, settings, sent, monkeypatch):
    given = []
    handler = server._http.RequestHandlerClass
    kept = handler._unauthorised
    monkeypatch.setattr(
        handler, "_unauthorised", lambda self: given.append(self.headers.get_all("authorization")) or kept(self)
    )
    settings = dict(settings)
    address = server.base_url.replace("//", f"//{settings.pop('user', '')}")
    assert made(server, embedding_base_url=address, **settings).embed(["a"]).vectors == right(["a"])
    assert given == [None if sent is None else [sent]]


def test_the_form_is_set_from_another_process_too():
    form = EmbeddingForm(refuses={"dimensions"}, max_inputs=2, too_many=413, index="never", encoding="float")
    with start_server_process() as remote:
        remote.set_form(form)
        with OpenAI(base_url=remote.base_url, api_key="any", max_retries=0) as api:
            with pytest.raises(openai.BadRequestError, match="dimensions"):
                api.embeddings.create(model="m", input="a", dimensions=8)
            with pytest.raises(openai.APIStatusError, match="maximum allowed batch size 2") as refused:
                api.embeddings.create(model="m", input=TEXTS)
            assert refused.value.status_code == 413
            answer = api.embeddings.with_raw_response.create(model="m", input="a", encoding_format="base64")
            (item,) = json.loads(answer.content)["data"]
            assert set(item) == {"object", "embedding"}
            assert array.array("f", item["embedding"]).tobytes() == embed("a", model="m", dimensions=1536)
        with pytest.raises(ValueError, match="unknown status"):
            EmbeddingForm(status=200)
        with pytest.raises(ValueError, match="not understood"):
            remote._call("POST", "form", {"index": "sometimes"})
