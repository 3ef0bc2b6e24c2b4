"""Every line for a shell in the pages is tried by a test or has a reason not to be, and has no wrong option."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from emendo_ops.cli import app
from tests.support.command_line import parse
from tests.support.shell_lines import commands

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "ops/README.md")]
PAGES += sorted((ROOT / "docs").rglob("*.md"))
BLOCK = re.compile(r"^( *)```(?:sh|bash|shell|console)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)

# Pages whose lines another file of tests runs.
ELSEWHERE = {
    "docs/how-to/backup.md": "tests/docs/test_backup_page.py",
    "docs/how-to/http.md": "tests/docs/test_http_lines.py",
    "docs/how-to/kubernetes.md": "tests/docs/test_kubernetes_page.py",
    "docs/how-to/mem0-clients.md": "tests/docs/test_http_lines.py",
    "docs/how-to/web-frameworks.md": "tests/docs/test_web_frameworks.py",
    "docs/reference/cli.md": "tests/unit/ops/test_cli_help.py",
}
# Pages whose commands a file of tests tries with values of its own. The lines themselves are only parsed.
TRIED = {
    "docs/how-to/conflicts.md": "tests/integration/ops/test_conflicts_cli.py",
    "docs/how-to/conformance.md": "tests/integration/ops/test_conformance_command.py",
    "docs/how-to/diagnose.md": "tests/integration/ops/test_doctor_deep.py",
    "docs/how-to/erase.md": "tests/integration/ops/test_erasing_commands.py",
    "docs/how-to/evaluate-inference.md": "tests/integration/ops/test_eval_command.py",
    "docs/how-to/filter.md": "tests/integration/ops/test_filter_cli.py",
    "docs/how-to/list.md": "tests/integration/ops/test_filter_cli.py",
    "docs/how-to/project-rules.md": "tests/integration/client/test_project_rules.py",
    "docs/how-to/reembed.md": "tests/integration/ops/test_reembedding_cli.py",
    "docs/how-to/search.md": "tests/integration/ops/test_filter_cli.py",
    "docs/how-to/test-your-app.md": "tests/docs/test_how_to_test.py",
    "docs/how-to/when-paged.md": "tests/integration/ops/test_jobs_cli.py",
}
# Lines that nothing runs, by their beginning, and why.
NOT_RUN = {
    "README.md": {
        "make ": "the suite is one of them, and CI runs each",
        ".venv/bin/emendo ": "tests/docs/test_readme_lines.py and test_http_lines.py run them",
        "export ": "tests/docs/test_http_lines.py runs it",
        "KEY=": "tests/docs/test_http_lines.py runs it",
        "AUTH=": "tests/docs/test_http_lines.py runs it",
        "ID=": "tests/docs/test_http_lines.py runs it",
        "curl ": "tests/docs/test_http_lines.py runs it",
    },
    "CONTRIBUTING.md": {"make ": "CI runs them"},
    "docs/performance.md": {
        "make bench": "it takes many minutes; tests/bench/test_harness.py runs each figure at a small size",
        "emendo bench": "tests/integration/ops/test_bench_command.py runs it at a small size",
    },
    "docs/how-to/flower.md": {"emendo flower": "tests/integration/ops/test_flower_in_a_browser.py starts it"},
    "docs/how-to/test-your-app.md": {"pip install": "tests have the packages installed already"},
    "docs/how-to/scale.md": {
        "KEY=": "tests/integration/gateway/test_scaling.py asks for the same with a key of its own",
        "curl ": "tests/integration/gateway/test_scaling.py asks for the same",
    },
    "docs/how-to/traces.md": {
        "pip install": "tests have the packages installed already",
        "emendo ": "the collector is the reader's own; tests of traces have one in the process",
    },
    "ops/README.md": {
        "emendo redis-users": "tests/security uses the files that it writes",
        "cp ": "the settings in it are the reader's own",
        "docker ": "tests/containers/test_compose_runs.py does the same with podman, where there is one",
        "EMENDO_": "the digests are the reader's own",
        "echo ": "the password in it is the reader's own",
        "operator": "tests/containers/test_compose_runs.py does the same with podman, where there is one",
        "emendo dead": "tests/integration/ops/test_dead_cli.py runs them on dead letters of its own",
    },
}


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: str) -> list[str]:
    """The shell blocks of a page, also those within a list."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return [re.sub(rf"^{indent}", "", body, flags=re.MULTILINE) for indent, body in BLOCK.findall(text)]


def lines(page: str) -> list[str]:
    """The commands of a page without comments and settings, which are for the reader's own shell."""
    found = [command for block in blocks(page) for command in commands(block)]
    return [line for line in found if not line.startswith(("#", "export "))]


def is_listed(page: str, line: str) -> bool:
    return any(line.startswith(beginning) for beginning in NOT_RUN.get(page, {}))


@pytest.mark.parametrize("page", [name(each) for each in PAGES])
def test_every_line_is_tried_or_has_a_reason(page):
    if page in ELSEWHERE:
        reader = (ROOT / ELSEWHERE[page]).read_text(encoding="utf-8")
        assert Path(page).name in reader or "examples_of" in reader
    elif page in TRIED:
        assert lines(page), "the page has no line"
        assert (ROOT / TRIED[page]).is_file()
    else:
        assert [line for line in lines(page) if not is_listed(page, line)] == []


EMENDO = [
    (name(page), line) for page in PAGES for line in lines(name(page)) if re.match(r"(?:\.venv/bin/)?emendo ", line)
]


@pytest.mark.parametrize(("page", "line"), EMENDO)
def test_every_command_has_only_arguments_and_options_there_are(page, line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("my-cases").mkdir()
    for file in ("backup.jsonl", "shop.jsonl", "memories.json", "chat.json"):
        Path(file).write_text("[]", encoding="utf-8")
    words = shlex.split(re.sub(r"<([\w ]+)>", "ID", line.replace("\\\n", " ")), comments=True)[1:]
    ends = [place for place, word in enumerate(words) if word in ("|", ">", "&")]
    parse(app.cli, words[: min(ends, default=len(words))])


@pytest.mark.parametrize("page", NOT_RUN)
def test_every_reason_is_needed(page):
    found = [command for block in blocks(page) for command in commands(block)]
    unused = [start for start in NOT_RUN[page] if not any(line.startswith(start) for line in found)]
    assert unused == []
