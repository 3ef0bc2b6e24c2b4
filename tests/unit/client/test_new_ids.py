"""Ids of new jobs and memories. Those of memories are the same in every release, since a job may be worked twice."""

from __future__ import annotations

import uuid

from emendo_client.requests.operations import new_job_id, new_memory_id

NAMESPACE = uuid.UUID("6f0a1c5e-6d3f-5a39-9d0e-2f1f6c0c1f5b")


def test_the_id_of_a_new_memory_is_pythons_own_uuid_of_its_job_and_place():
    jobs = [new_job_id() for _ in range(100)]
    assert [new_memory_id(job, n) for n, job in enumerate(jobs)] == [
        str(uuid.uuid5(NAMESPACE, f"{job}:{n}")) for n, job in enumerate(jobs)
    ]


def test_the_id_of_a_new_job_is_a_random_uuid():
    made = [new_job_id() for _ in range(100)]
    assert len(set(made)) == len(made)
    assert [str(uuid.UUID(each, version=4)) for each in made] == made
