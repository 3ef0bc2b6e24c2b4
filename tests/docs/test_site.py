"""The documentation's site: it says what the pages say, needs no other host, and has a place for every page."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml
from markdown_it import MarkdownIt

from tools import docs_site

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "ops" / "prometheus" / "rules.yml"
ALERTS = {
    alert["alert"]: alert["annotations"]["runbook_url"]
    for group in yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    for alert in group["rules"]
    if "alert" in alert
}
# The parts of a page. A list that is read as one paragraph lacks its items.
PARTS = {
    "h1",
    "h2",
    "h3",
    "h4",
    "ul",
    "ol",
    "li",
    "table",
    "tr",
    "td",
    "pre",
    "blockquote",
    "strong",
    "em",
    "img",
    "a",
    "code",
}
ARTICLE = re.compile(r'<article class="md-content__inner md-typeset">(.*?)</article>', re.DOTALL)
# The addresses that a browser fetches by itself: all but the targets of links.
FETCHED = re.compile(r'<(?:script|link|img|iframe|source|audio|video)\b[^>]*?\b(?:src|href)="([^"]*)"|url\(([^)]*)\)')


class _Shape(HTMLParser):
    """How many parts of each kind a text has, and its characters without spaces."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.parts: Counter[str] = Counter()
        self.text = ""
        self.feed(html)
        self.text = re.sub(r"[\s¶]", "", self.text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        anchor = tag == "a" and ("href" not in given or given.get("class") == "headerlink")
        if tag in PARTS and not anchor:
            self.parts[tag] += 1

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    variables = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stderr  # --quiet would hide warnings from --strict
    return folder


def source_of(page: Path, site: Path) -> Path:
    """The file of the repository that a page of the site was made of."""
    name = page.relative_to(site).with_suffix(".md")
    source = ROOT / docs_site.source_path(name.as_posix())
    return source if source.exists() else source.with_name("README.md")


def test_links_lead_to_the_same_files_in_the_site():
    there = docs_site.relinked
    assert there("[a](docs/how-to/http.md#keys)", "README.md") == "[a](how-to/http.md#keys)"
    assert there("[a](../ops/README.md#redis-users)", "docs/security.md") == "[a](project/ops/README.md#redis-users)"
    assert there("[a](../../README.md)", "docs/how-to/http.md") == "[a](../index.md)"
    assert there("[a](docs/decisions/)", "README.md") == "[a](decisions/README.md)"
    assert there("[a](../docs/design.md)", "ops/README.md") == "[a](../../design.md)"
    assert there("[a](../Makefile)", "docs/security.md") == "[a](project/Makefile)"
    kept = "[a](#here) [b](https://example.com/x) [c](no-such.md) `[d](README.md)`\n```\n[e](README.md)\n```\n"
    assert there(kept, "README.md") == kept
    for path in ("README.md", "ops/README.md", "docs/design.md", "SECURITY.md"):
        assert docs_site.source_path(docs_site.site_path(path)) == path


def test_a_folder_of_the_navigation_has_its_other_pages():
    taken = {"decisions/README.md", "decisions/0001-one-wake-up-per-shard.md"}
    found = docs_site.pages_of("decisions/", taken)
    assert found == sorted(found)
    assert "decisions/0002-two-redis-planes.md" in found
    assert not taken & set(found)


def test_every_page_has_a_place_in_the_navigation():
    """`make lint` says it, too; here is what it costs to find out sooner."""
    named = docs_site.with_folders(yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"])
    docs = ROOT / "docs"
    pages = {page.relative_to(docs).as_posix() for page in docs.rglob("*.md")}
    assert pages - set(docs_site.named(named)) == set()


@pytest.mark.slow
def test_every_page_says_in_the_site_what_it_says_on_a_code_host(site):
    """The site's Markdown is another dialect: a nested list or a table may come out as text."""
    reader = MarkdownIt("commonmark").enable("table")
    seen = 0
    for page in sorted(site.rglob("*.html")):
        if page.name == "404.html":
            continue
        shown = _Shape(ARTICLE.search(page.read_text(encoding="utf-8"))[1])
        source = source_of(page, site)
        written = _Shape(reader.render(source.read_text(encoding="utf-8")))
        assert dict(shown.parts) == dict(written.parts), source
        assert shown.text == written.text, source
        seen += 1
    assert seen > 50


@pytest.mark.slow
def test_a_browser_fetches_nothing_from_another_host(site):
    fetched = [
        (path.name, address)
        for path in site.rglob("*")
        if path.suffix in (".html", ".css")
        for pair in FETCHED.findall(path.read_text(encoding="utf-8"))
        if (address := next(filter(None, pair), ""))
    ]
    assert len(fetched) > 100
    assert [each for each in fetched if re.match(r"(?:https?:)?//", each[1])] == []


@pytest.mark.slow
def test_every_alert_leads_to_its_runbook_in_the_site(site):
    assert len(ALERTS) > 10
    for alert, address in ALERTS.items():
        page, _, anchor = address.partition("#")
        text = (site / docs_site.site_path(page)).with_suffix(".html").read_text(encoding="utf-8")
        assert f'<h2 id="{anchor}">{alert}<' in text
