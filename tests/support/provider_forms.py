"""The forms of embedding servers, as public reports of their users describe them; each is run end to end.

The names say where a form was seen, and promise nothing about a release of that server.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from emendo_client.testing import EmbeddingForm

DIMENSIONS = 64
API_VERSION = "?api-version=2024-10-21"
_PLAIN_FIELDS = frozenset({"model", "input"})


@dataclass(frozen=True, slots=True)
class ProviderForm:
    """One row of the table.

    Attributes:
        name: the server, with the model if that makes the difference.
        differs: how it differs from OpenAI, in words.
        does: what Emendo does about it, in words.
        server: the same as `differs`, for the stand-in.
        settings: what its user sets beside address, key, model and dimensions, by the names of `Settings`.
        query: the end of its base URL.
        has_key: whether a key is sent as OpenAI wants it.
        sends: which of `dimensions` and `encoding_format` requests have once the form is known.
        most_refused: most requests that it refuses until its form is known, for a batch of BATCH texts.
        unusable: answers with 200 that hold no vector, until its form is known.
    """

    name: str
    differs: str
    does: str
    server: EmbeddingForm
    settings: Mapping[str, str] = field(default_factory=dict)
    query: str = ""
    has_key: bool = True
    sends: frozenset[str] = frozenset({"dimensions", "encoding_format"})
    most_refused: int = 0
    unusable: int = 0


# Texts of a batch: more than each limit below.
BATCH = 40
_NO_DIMENSIONS, _NO_ENCODING = frozenset({"encoding_format"}), frozenset({"dimensions"})

FORMS = (
    ProviderForm("OpenAI", "nothing", "nothing", EmbeddingForm()),
    ProviderForm(
        "Azure OpenAI",
        "needs `?api-version=…` and the key in the header `api-key`",
        "sends the query of the base URL with each request, and `EMENDO_EMBEDDING_HEADERS`",
        EmbeddingForm(query=frozenset({"api-version"}), headers=frozenset({"api-key"})),
        settings={"embedding_headers": '{"api-key": "secret"}'},
        query=API_VERSION,
        has_key=False,
    ),
    ProviderForm(
        "vLLM with bge-m3",
        "refuses `dimensions` with 400",
        "asks again without it, and remembers that",
        EmbeddingForm(refuses=frozenset({"dimensions"}), dimensions=DIMENSIONS),
        sends=_NO_DIMENSIONS,
        most_refused=1,
    ),
    ProviderForm(
        "vLLM with Qwen3-Embedding",
        "refuses `dimensions` with 400, without its name",
        "asks for one text without it, and remembers that",
        EmbeddingForm(refuses=frozenset({"dimensions"}), dimensions=DIMENSIONS, names_field=False),
        sends=_NO_DIMENSIONS,
        most_refused=2,
    ),
    ProviderForm(
        "Ollama",
        "ignores `dimensions`, sends lists, says 500 for too many texts (32)",
        "reads lists, halves the batch, and remembers how many texts were taken",
        EmbeddingForm(dimensions=DIMENSIONS, encoding="float", max_inputs=32, too_many=500),
        most_refused=4,
    ),
    ProviderForm(
        "Text Embeddings Inference",
        "ignores `dimensions`, refuses more than 32 texts with 422",
        "halves the batch, and remembers how many texts were taken",
        EmbeddingForm(dimensions=DIMENSIONS, max_inputs=32, too_many=422),
        most_refused=2,
    ),
    ProviderForm(
        "Text Embeddings Inference behind a proxy",
        "refuses a large body, here more than 16 texts, with 413",
        "halves the batch, and remembers how many texts were taken",
        EmbeddingForm(dimensions=DIMENSIONS, max_inputs=16, too_many=413),
        most_refused=3,
    ),
    ProviderForm(
        "Gemini",
        "leaves `index` out where it is 0, sends lists",
        "takes the place of an item for its index, reads lists",
        EmbeddingForm(index="not_zero", encoding="float"),
    ),
    ProviderForm(
        "LM Studio",
        "refuses `encoding_format` without its name, has no `index`, says 500 for more than 10 texts",
        "asks without the field, takes places for indexes, halves the batch, and remembers all of it",
        EmbeddingForm(
            refuses=frozenset({"encoding_format"}),
            names_field=False,
            dimensions=DIMENSIONS,
            encoding="float",
            index="never",
            max_inputs=10,
            too_many=500,
        ),
        sends=_NO_ENCODING,
        most_refused=8,
    ),
    ProviderForm(
        "LiteLLM",
        "says 500 for `dimensions` and for `encoding_format`, and names the field",
        "asks without them, and remembers that",
        EmbeddingForm(refuses=frozenset({"dimensions", "encoding_format"}), status=500, dimensions=DIMENSIONS),
        sends=frozenset(),
        most_refused=3,
    ),
    ProviderForm(
        "DashScope (Qwen)",
        "refuses more than 10 texts with 400, sends lists",
        "halves the batch, and remembers how many texts were taken",
        EmbeddingForm(encoding="float", max_inputs=10),
        most_refused=4,
    ),
    ProviderForm(
        "Mistral",
        "refuses fields that it does not know with 422",
        "asks without `dimensions`, and remembers that",
        EmbeddingForm(knows=_PLAIN_FIELDS | {"encoding_format"}, status=422, dimensions=DIMENSIONS, encoding="float"),
        sends=_NO_DIMENSIONS,
        most_refused=1,
    ),
    ProviderForm(
        "OpenRouter",
        "answers without a vector where its provider cannot give base64",
        "asks once more without `encoding_format`, and remembers that",
        EmbeddingForm(encoding="float_only"),
        sends=_NO_ENCODING,
        unusable=1,
    ),
    ProviderForm(
        "Voyage",
        "refuses `dimensions` and wants `output_dimension`, refuses `float`, takes `input_type`",
        "asks without `dimensions`, and sends `EMENDO_EMBEDDING_PASSAGE_FIELDS` and `EMENDO_EMBEDDING_QUERY_FIELDS`",
        EmbeddingForm(
            knows=_PLAIN_FIELDS | {"encoding_format", "input_type", "output_dimension"},
            needs=frozenset({"output_dimension"}),
            dimensions=DIMENSIONS,
            encoding="base64",
        ),
        settings={
            "embedding_passage_fields": f'{{"input_type": "document", "output_dimension": {DIMENSIONS}}}',
            "embedding_query_fields": f'{{"input_type": "query", "output_dimension": {DIMENSIONS}}}',
        },
        sends=_NO_DIMENSIONS,
        most_refused=1,
    ),
    ProviderForm(
        "a strict server",
        "refuses every field but `model` and `input` with 422, and names none",
        "asks without them, and remembers that",
        EmbeddingForm(knows=_PLAIN_FIELDS, status=422, names_field=False, dimensions=DIMENSIONS),
        sends=frozenset(),
        most_refused=4,
    ),
    ProviderForm(
        "llama.cpp",
        "ignores `dimensions`, answers in another order",
        "sorts by index",
        EmbeddingForm(dimensions=DIMENSIONS, index="reversed", encoding="float"),
    ),
    ProviderForm(
        "llama.cpp with a list of one vector",
        "sends each vector within a list",
        "takes it out",
        EmbeddingForm(dimensions=DIMENSIONS, encoding="nested"),
    ),
    ProviderForm(
        "Cohere",
        "needs `input_type`",
        "sends `EMENDO_EMBEDDING_PASSAGE_FIELDS` and `EMENDO_EMBEDDING_QUERY_FIELDS`",
        EmbeddingForm(needs=frozenset({"input_type"}), encoding="float"),
        settings={
            "embedding_passage_fields": '{"input_type": "search_document"}',
            "embedding_query_fields": '{"input_type": "search_query"}',
        },
    ),
    ProviderForm(
        "E5, on any server",
        "wants `query: ` or `passage: ` before each text",
        "sends `EMENDO_EMBEDDING_PASSAGE_PREFIX` and `EMENDO_EMBEDDING_QUERY_PREFIX`",
        EmbeddingForm(refuses=frozenset({"dimensions"}), dimensions=DIMENSIONS),
        settings={"embedding_passage_prefix": "passage: ", "embedding_query_prefix": "query: "},
        sends=_NO_DIMENSIONS,
        most_refused=1,
    ),
)
