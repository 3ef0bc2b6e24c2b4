"""Programs that lie in the current folder are not run, whatever they are named."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from emendo_client.testing.ports import free_port
from emendo_config import Settings
from emendo_config.celery_app import create_app
from emendo_config.child_processes import environment_for, python_module
from emendo_workers.runtime.beat import MemoryScheduler
from tests.security.planted import PlantedFolder

BIN = Path(sys.executable).parent
EMENDO = str(BIN / "emendo")
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith(("EMENDO_", "OPENAI_"))}


@pytest.fixture
def planted(tmp_path) -> PlantedFolder:
    return PlantedFolder(tmp_path)


def run(folder: PlantedFolder, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=folder.path, env={**CLEAN, **variables}, capture_output=True, text=True, timeout=60, check=False
    )


def test_the_folder_would_be_noticed(planted):
    run(planted, sys.executable, "-c", "import redis")
    assert planted.was_run == {"redis"}


@pytest.mark.slow  # a process for each
@pytest.mark.parametrize(
    "command",
    [
        python_module("emendo_workers", "report"),
        pytest.param([sys.executable, "-m", "emendo_workers", "report"], marks=pytest.mark.slow),
        [str(BIN / "celery"), "-A", "emendo_workers.app", "report"],
        pytest.param([str(BIN / "celery"), "--app=emendo_workers.app", "report"], marks=pytest.mark.slow),
    ],
    ids=["as children are started", "python -m", "celery -A", "celery --app"],
)
def test_celery_with_our_app_imports_nothing_from_the_current_folder(planted, command):
    # Each of these variables makes Celery or its command line import a module that is named there.
    named = dict.fromkeys(("CELERY_LOADER", "LOADER", "CELERY_CONFIG_MODULE", "CONFIG_MODULE"), "celeryconfig")
    if "-P" not in command:
        planted.lacks("emendo_workers")
    named = {} if "celery" in Path(command[0]).name else named | {"APP": "redis", "DJANGO_SETTINGS_MODULE": "rich"}
    done = run(planted, *command, **named)
    assert "software -> celery" in done.stdout, done.stderr
    assert planted.was_run == set()


@pytest.mark.slow  # a process for each
@pytest.mark.parametrize(
    ("command", "says"),
    [
        ([EMENDO, "status"], "does not run"),
        ([sys.executable, "-m", "emendo_ops.cli", "doctor"], "does not answer"),
        ([sys.executable, "-m", "emendo_client.testing", "--help"], "--latency-ms"),
        ([EMENDO, "worker", "--queues", "interactive"], "EMENDO_LOG_LEVEL"),
    ],
    ids=["emendo", "python -m emendo_ops.cli", "python -m emendo_client.testing", "emendo worker"],
)
def test_no_command_imports_from_the_current_folder(planted, command, says):
    if "-m" in command:
        planted.lacks("emendo_client")
    level = "LOUD" if "worker" in command else "INFO"
    done = run(planted, *command, EMENDO_REDIS_URL=f"redis://127.0.0.1:{free_port()}/0", EMENDO_LOG_LEVEL=level)
    assert says in done.stdout + done.stderr
    assert planted.was_run == set()


@pytest.mark.parametrize("path", [":", ".", "here/there:", ":/usr/lib/none"])
def test_children_look_for_modules_at_absolute_places_only(monkeypatch, path):
    monkeypatch.setenv("PYTHONPATH", path)
    for role in ("stack", "worker", "redis"):
        assert environment_for(role).get("PYTHONPATH", "/").startswith("/")
        assert environment_for(role)["PYTHONSAFEPATH"] == "1"


def test_the_app_of_a_client_imports_nothing_from_the_current_folder(planted, monkeypatch):
    monkeypatch.chdir(planted.path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in ("CELERY_LOADER", "CELERY_CONFIG_MODULE", "DJANGO_SETTINGS_MODULE"):
        monkeypatch.setenv(name, "flowerconfig")
    before = list(sys.path)
    app = create_app(Settings())
    with pytest.raises(ModuleNotFoundError):
        app.loader.import_task_module("flowerconfig")
    assert app.conf.broker_url
    assert (planted.was_run, sys.path) == (set(), before)


def test_beat_keeps_no_schedule_that_could_be_planted(tmp_path):
    app = create_app(Settings())
    sign = tmp_path / "alive"
    for suffix in ("", ".db", ".dat", ".dir", ".bak"):
        (tmp_path / f"alive{suffix}").write_bytes(b"\x80\x04")
    target = tmp_path / "of the owner"
    target.write_text("kept")
    (tmp_path / "alive.new").symlink_to(target)
    scheduler = MemoryScheduler(app, schedule_filename=str(sign))
    assert {entry.task for entry in scheduler.schedule.values()} == {"emendo.housekeeping"}
    assert (sign.stat().st_size, sign.stat().st_mode & 0o777, target.read_text()) == (0, 0o600, "kept")
    scheduler.close()
    assert sign.exists()
