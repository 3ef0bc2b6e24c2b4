"""`emendo reembed` and its subcommands."""

from __future__ import annotations

import json

from tests.support.migrating import worked


def test_the_command_line_plans_and_shows(services, client, store, cli):
    code, out, _ = cli(services.settings, "reembed", "--dimensions", "32", "--dry-run", "--json")
    assert (code, json.loads(out)["memories"]) == (0, 4)
    code, out, _ = cli(services.settings, "reembed", "--dimensions", "32", "--dry-run")
    assert code == 0
    assert "no limit is set" in out
    assert cli(services.settings, "reembed", "status")[1] == "there was no re-embedding lately\n"

    code, out, _ = cli(services.settings, "reembed", "--dimensions", "32", "--no-wait", "--json")
    job = client.job(json.loads(out)["job_id"])
    assert cli(services.settings, "reembed", "pause")[0] == 0
    assert client.migration().paused
    assert cli(services.settings, "reembed", "resume")[0] == 0
    code, _, err = cli(services.settings, "reembed", "--dimensions", "48", "--json")
    assert (code, json.loads(err)["details"]) == (1, {"job_id": job.id})
    worked(services, job)
    code, out, _ = cli(services.settings, "reembed", "status", "--json")
    assert (code, json.loads(out)["phase"], json.loads(out)["done"]) == (0, "switched", 4)
    assert "recall@10" in cli(services.settings, "reembed", "status")[1]

    assert cli(services.settings, "reembed", "finalize", "--no-wait")[0] == 2, "nobody is there to be asked"
    code, out, _ = cli(services.settings, "reembed", "rollback", "--no-wait", "--json")
    worked(services, client.job(json.loads(out)["job_id"]))
    assert client.migration().phase == "rolled_back"


def test_the_command_line_repairs_a_part(services, client, store, cli):
    assert cli(services.settings, "reembed", "--only", "colour=red")[0] == 1
    code, out, _ = cli(
        services.settings, "reembed", "--only", "user_id=ana", "--only", "missing", "--no-wait", "--json"
    )
    assert code == 0
    worked(services, client.job(json.loads(out)["job_id"]))
    assert client.migration().phase == "repaired"
