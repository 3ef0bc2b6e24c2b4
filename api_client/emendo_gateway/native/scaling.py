"""How many workers each queue needs: what KEDA's `metrics-api` reads, and any other program that scales workers."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from emendo_client.exchanges.backlog import Inbox
from emendo_config import GatewaySettings
from emendo_gateway.gateway import gateway_of
from emendo_gateway.native import answers

router = APIRouter(tags=["scaling"])


class QueueScale(BaseModel):
    """One queue: `value` is the larger of depth ÷ target depth and age ÷ target age."""

    value: float
    depth: int = Field(description="Jobs and chunks that wait in the queue's inboxes, or are worked now.")
    age_seconds: float = Field(description="Age of the oldest of them; 0 for none.")
    target_depth: int
    target_age_seconds: float


class Scale(BaseModel):
    """The workers that are wanted, as a fraction: 2.5 means that three would keep up."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "value": 2.5,
                    "queues": {
                        "interactive": {
                            "value": 2.5,
                            "depth": 5000,
                            "age_seconds": 1.2,
                            "target_depth": 2000,
                            "target_age_seconds": 2.0,
                        }
                    },
                }
            ]
        }
    )

    value: float = Field(description="The largest of the queues' values; 0 when nothing waits.")
    queues: dict[str, QueueScale] = Field(description="By queue: interactive, inference, bulk, maintenance.")


@router.get("/scaling", summary="Read how many workers are wanted", response_model=Scale)
async def scaling(request: Request) -> Response:
    """The backlog of all projects, measured in workers. It names no project and no job, so the scope `read` is enough.

    It is answered also while reads wait for a place: an overloaded installation is the one to scale.
    """
    gateway = gateway_of(request)
    backlog = await gateway.backlog.get()
    queues = {queue: _scale(gateway.own, queue, inbox) for queue, inbox in backlog.items()}
    return answers.document(Scale(value=max(each.value for each in queues.values()), queues=queues))


def _scale(own: GatewaySettings, queue: str, inbox: Inbox) -> QueueScale:
    depth, age = own.scaling_target(queue)
    return QueueScale(
        value=round(max(inbox.depth / depth, inbox.age / age), 4),
        depth=inbox.depth,
        age_seconds=round(inbox.age, 3),
        target_depth=depth,
        target_age_seconds=age,
    )
