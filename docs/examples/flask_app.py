"""Flask: one MemoryClient in each process, made by the app factory.

Run it with `flask --app flask_app run`, or with `gunicorn 'flask_app:create_app()'`.
"""

from flask import Blueprint, Flask, Response, current_app, jsonify, request

from emendo_client import MemoryClient
from emendo_client.errors import TransientError, ValidationError
from emendo_config import Settings

notes = Blueprint("notes", __name__)


def create_app(settings: Settings | None = None) -> Flask:
    """The app. Tests give it settings of their own; otherwise they come from EMENDO_… variables."""
    app = Flask(__name__)
    # Threads share the client. A server may fork after this line: each process opens connections of its own.
    app.extensions["memories"] = MemoryClient(settings)
    app.register_blueprint(notes)
    return app


def memories() -> MemoryClient:
    """The process's client."""
    client: MemoryClient = current_app.extensions["memories"]
    return client


# A real app takes the user from its login.
@notes.post("/users/<user_id>/notes")
def remember(user_id: str) -> tuple[Response, int]:
    """Answers as soon as Redis has the job; a worker carries it out."""
    job = memories().add(request.get_json().get("text", ""), user_id=user_id, infer=False)
    return jsonify(job=job.id), 202


@notes.get("/users/<user_id>/notes")
def recall(user_id: str) -> Response:
    """The user's memories nearest to the question."""
    hits = memories().search(request.args["q"], user_id=user_id, limit=3)
    return jsonify([hit.memory for hit in hits])


@notes.errorhandler(ValidationError)
def refused(error: ValidationError) -> tuple[Response, int]:
    """Bad input: nothing was enqueued."""
    return jsonify(detail=error.message), 422


@notes.errorhandler(TransientError)
def away(error: TransientError) -> tuple[Response, int, dict[str, str]]:
    """Redis or the provider is away: the same request may succeed later."""
    return jsonify(detail=error.message), 503, {"Retry-After": "1"}
