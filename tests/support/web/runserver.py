"""Django's development server, without its reloader."""

from __future__ import annotations

import sys

from tests.support.web import apps

if __name__ == "__main__":
    _ = apps.django_wsgi  # sets Django up
    from django.core.management import execute_from_command_line

    execute_from_command_line(["manage", "runserver", "--noreload", "--skip-checks", sys.argv[1]])
