"""Django: a memory is enqueued when the transaction of its row commits, and never for one that rolls back.

Run it with `python django_app.py runserver`. Settings, model and views share a file here only to be one short example.
"""

import json
import os
import sys

import django
from django.conf import settings
from django.core.management import execute_from_command_line
from django.core.wsgi import get_wsgi_application
from django.db import connection, models, transaction
from django.http import HttpRequest, JsonResponse
from django.urls import path
from django.views.decorators.http import require_http_methods

from emendo_client import MemoryClient

MOST_NOTES = 3

settings.configure(
    ALLOWED_HOSTS=["127.0.0.1", "localhost"],
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": os.environ.get("NOTES_DATABASE", "notes.sqlite3"),
        }
    },
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    LOGGING={
        "version": 1,
        "disable_existing_loggers": False,
        "handlers": {"console": {"class": "logging.StreamHandler"}},
        "root": {"handlers": ["console"]},
    },
    ROOT_URLCONF=__name__,
)
django.setup()

# One for the process; settings from EMENDO_… variables. A server may fork before or after this line.
memories = MemoryClient()


class Note(models.Model):
    """A row that has a memory."""

    user_id = models.CharField(max_length=64)
    text = models.TextField()

    class Meta:
        """No installed app holds this model."""

        app_label = "notes"


class TooManyNotesError(Exception):
    """The user has MOST_NOTES notes already."""


# A real app takes the user from its login.
@require_http_methods(["GET", "POST"])
def notes(request: HttpRequest, user_id: str) -> JsonResponse:
    """POST keeps a note; GET finds the user's memories nearest to `q`."""
    if request.method == "GET":
        hits = memories.search(request.GET["q"], user_id=user_id, limit=3)
        return JsonResponse([hit.memory for hit in hits], safe=False)
    text = json.loads(request.body).get("text", "").strip()
    if not text:  # checked here, because the client's own check comes after the commit
        return JsonResponse({"detail": "the text is empty"}, status=422)
    try:
        note = keep(user_id, text)
    except TooManyNotesError:
        return JsonResponse({"detail": f"a user has at most {MOST_NOTES} notes"}, status=409)
    return JsonResponse({"note": note.pk}, status=202)


@transaction.atomic
def keep(user_id: str, text: str) -> Note:
    """The new row. After a rollback there is neither a row nor a job."""
    note = Note.objects.create(user_id=user_id, text=text)
    # robust: an error of Redis is logged, because the row is committed by then and the request has succeeded.
    transaction.on_commit(lambda: remember(note), robust=True)
    if Note.objects.filter(user_id=user_id).count() > MOST_NOTES:
        raise TooManyNotesError
    return note


def remember(note: Note) -> None:
    """Enqueues the note's memory. The key makes it harmless to do so again, for rows that may have missed it."""
    memories.add(note.text, user_id=note.user_id, infer=False, idempotency_key=f"note-{note.pk}")


urlpatterns = [path("users/<user_id>/notes", notes)]
application = get_wsgi_application()

if __name__ == "__main__":
    if "notes_note" not in connection.introspection.table_names():  # a real project has migrations
        with connection.schema_editor() as editor:
            editor.create_model(Note)
    execute_from_command_line(sys.argv)
