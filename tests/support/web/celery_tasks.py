"""The module that `celery -A` loads: the tasks of the app, whose clients were used in the parent process."""

from tests.support.web.apps import celery_app

app = celery_app()
