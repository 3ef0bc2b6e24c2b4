"""The worker, which carries out the jobs that clients submit.

The way of a job is one straight line: accept (client) → inbox → drain (`intake/`) → open, decide, embed, commit
(`memories/`) → finish (`intake/attempt.py`). `docs/design.md` draws it. Every folder imports only folders below it:

    app, tasks
    intake, maintenance
    inference, reembedding
    memories
    services
    providers, runtime
    jobs
    store
"""

import os
import sys
from importlib import import_module

# `python -m emendo_workers` and `celery -A emendo_workers.app` put the current folder first on Python's path: a
# redis.py there would be run.
_for_celery = any(word.endswith("emendo_workers.app") for word in sys.argv)
if (_for_celery or sys.argv[:1] == ["-m"]) and sys.path[:1] == [os.getcwd()]:  # noqa: PTH109  # imports nothing more
    del sys.path[0]
    if _for_celery:
        import_module("emendo_workers.app")  # now, since Celery would put it back before it imports the app
