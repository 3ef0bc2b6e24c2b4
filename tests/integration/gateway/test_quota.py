"""A project's quota: what is beyond it is 429, and other projects go on."""

from __future__ import annotations

from tests.integration.gateway.conftest import problem
from tests.support.gateway import RunningGateway

MEMORIES, JOBS = "/api/v1/memories", "/api/v1/jobs"
BODY = {"messages": "x", "user_id": "ana", "infer": False}


def test_a_quota_that_is_used_up_is_told_with_a_time_to_come_back(emendo_settings):
    settings = emendo_settings.model_copy(update={"project_max_waiting": 2})
    with RunningGateway(settings) as gateway, gateway.tenant() as tenant, gateway.tenant() as other:
        jobs = [tenant.post(MEMORIES, json=BODY).json() for _ in range(2)]
        batch = {"items": [{"op": "add", "messages": "x", "user_id": "ana"}], "infer": False}
        for path, body in ((MEMORIES, BODY), ("/api/v1/batches", batch)):
            refused = tenant.post(path, json=body)
            problem(refused, 429, "QUOTA_EXCEEDED")
            assert int(refused.headers["retry-after"]) >= 1
        assert len(tenant.get(JOBS).json()["results"]) == 2
        assert other.post(MEMORIES, json=BODY).status_code == 202
        assert tenant.post(f"{jobs[0]['url']}/cancel").json()["cancelled"] is True
        assert tenant.post(MEMORIES, json=BODY).status_code == 202
