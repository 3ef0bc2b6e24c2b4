"""`emendo import --from mem0`: each form of mem0's lists and exports becomes adds that keep their ids and times."""

from __future__ import annotations

import json

import pytest

from tests.support.intake import drain
from tests.support.migrating import worked

SEA = {
    "id": "8f2b5c1e-0d6f-4b0e-9f57-2f8f6a3f1c11",
    "memory": "lives by the sea",
    "hash": "d41d8cd98f00b204e9800998ecf8427e",
    "user_id": "ana",
    "metadata": {"place": "Porto"},
    "categories": ["home"],
    "app_id": "shop",
    "created_at": "2024-07-20T01:30:36.275141-07:00",
    "updated_at": "2024-08-01T10:00:00+00:00",
    "score": 0.3,
}
TEA = {
    "id": "not/an/id",
    "memory": "drinks tea",
    "agent_id": "butler",
    "run_id": "r1",
    "created_at": "2024-01-01T00:00:00",
}
BAD = [
    {"id": "1", "memory": "of nobody"},
    {"id": "2", "memory": "", "user_id": "ana"},
    {"id": "3", "memory": "a time", "user_id": "ana", "created_at": "yesterday"},
    "no memory",
    {"id": "5", "memory": "an owner", "user_id": "ana", "metadata": {"user_id": "bob"}},
]


def as_lines(found: list) -> str:
    return "\n".join(json.dumps(each) for each in found) + "\n"


@pytest.fixture
def imported(services, cli, tmp_path):
    def call(text: str, code: int = 0) -> dict:
        file = tmp_path / "mem0.json"
        file.write_text(text, encoding="utf-8")
        found, out, err = cli(services.settings, "import", "--from", "mem0", str(file), "--json")
        assert found == code, err
        return json.loads(out)

    return call


def test_each_form_gives_the_same_memories_once(services, client, imported):
    both = [SEA, TEA]
    first = imported(json.dumps({"results": both, "relations": []}))
    assert (first["created"], first["lacking_vectors"]) == (2, 2)
    worked(services, client.job(first["embedding"]))
    for text in (json.dumps(both), json.dumps({"memories": both}), as_lines(both)):
        assert imported(text)["same"] == 2
    assert imported(as_lines([SEA]))["same"] == 1
    found = client.get(SEA["id"])
    assert (found.memory, found.user_id, found.version) == ("lives by the sea", "ana", 1)
    assert found.metadata == {"place": "Porto", "category": "home", "app_id": "shop"}
    assert found.created_at.isoformat() == "2024-07-20T08:30:36.275141+00:00"
    assert found.updated_at.isoformat() == "2024-08-01T10:00:00+00:00"
    (other,) = client.get_all(agent_id="butler").results
    assert (other.memory, other.run_id, other.created_at.isoformat()) == (
        "drinks tea",
        "r1",
        "2024-01-01T00:00:00+00:00",
    )
    assert client.search("lives by the sea", user_id="ana")[0].id == SEA["id"]
    for memory_id in (SEA["id"], other.id):
        assert client.diagnose(memory_id).ok
        (entry,) = client.history(memory_id)
        assert (entry.event, entry.new_memory) == ("ADD", client.get(memory_id).memory)
    drain(services, client.update(SEA["id"], "lives in the hills"))
    again = imported(json.dumps(both))
    assert (again["newer_kept"], again["same"]) == (1, 1)
    assert client.get(SEA["id"]).memory == "lives in the hills"


def test_what_is_no_memory_here_is_refused_by_its_place(services, client, imported):
    report = imported(json.dumps([*BAD[:3], SEA, *BAD[3:]]), code=1)
    assert report["created"] == 1
    assert [each["line"] for each in report["refusals"]] == [1, 2, 3, 5, 6]
    assert "of nobody" not in json.dumps(report)
    assert client.get(SEA["id"])


def test_a_file_of_another_kind_is_refused(services, cli, tmp_path):
    file = tmp_path / "mem0.json"
    file.write_text('{"detail": "Not found"}', encoding="utf-8")
    code, _, err = cli(services.settings, "import", "--from", "mem0", str(file))
    assert (code, "none of mem0's forms" in err) == (1, True)
