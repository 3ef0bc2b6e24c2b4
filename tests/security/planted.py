"""A folder that somebody else wrote programs into, with the names of what Emendo and its libraries import."""

from __future__ import annotations

from pathlib import Path

MODULES = (
    *("celery", "celeryconfig", "click", "emendo_client", "emendo_config", "emendo_gateway", "emendo_workers"),
    *(
        "fastapi",
        "flower",
        "flowerconfig",
        "httpx",
        "json",
        "kombu",
        "logging",
        "numpy",
        "openai",
        "pydantic",
        "random",
    ),
    *("redis", "rich", "sitecustomize", "socket", "tornado", "usercustomize", "uvicorn"),
)


class PlantedFolder:
    """The folder; each program in it leaves a mark when it is run."""

    def __init__(self, parent: Path) -> None:
        self.path = parent / "planted"
        self._marks = parent / "marks"
        for folder in (self.path, self._marks):
            folder.mkdir()
        for name in MODULES:
            self.plant(f"{name}.py", f"open({str(self._marks / name)!r}, 'w').close()\nraise SystemExit('planted')\n")
        self.plant(".env", "EMENDO_KEY_PREFIX=planted:\nEMENDO_REDIS_URL=redis://planted:1/0\n")

    def plant(self, name: str, text: str) -> None:
        """Adds a file."""
        (self.path / name).write_text(text)

    def lacks(self, name: str) -> None:
        """Removes a program: `python -m name` runs the one of the current folder before any of ours could object."""
        (self.path / f"{name}.py").unlink(missing_ok=True)

    @property
    def was_run(self) -> set[str]:
        """The names of the programs that were run."""
        return {mark.name for mark in self._marks.iterdir()}
