"""Hooks of mkdocs: they make a site of pages that are written for a code host.

There a link may lead anywhere in the repository, `../ops/README.md` or a source file. A site has no place outside its
folder. So each file that a page links to becomes part of the site, and the link leads there. README.md is the first
page.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
DOCS = "docs/"
OUTSIDE = "project/"  # where the site has the files from outside of docs/
FIRST = {"README.md": "index.md"}
CODE = re.compile(r"(^ *```.*?^ *```$|`[^`\n]+`)", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<=\]\()([^)\s#:]+)(?=(?:#[^)\s]*)?\))")


def site_path(path: str) -> str:
    """Where the site has a file of the repository; a folder is its README.md."""
    if (ROOT / path).is_dir():
        path = posixpath.join(path, "README.md")
    if path.startswith(DOCS):
        return path.removeprefix(DOCS)
    return FIRST.get(path, OUTSIDE + path)


def source_path(site: str) -> str:
    """The inverse of `site_path`: the file's path in the repository."""
    for source, first in FIRST.items():
        if site == first:
            return source
    return site.removeprefix(OUTSIDE) if site.startswith(OUTSIDE) else DOCS + site


def linked(markdown: str, page: str) -> Iterator[str]:
    """The paths in the repository that a page's links lead to."""
    for text in CODE.split(markdown)[::2]:
        for target in LINK.findall(text):
            yield posixpath.normpath(posixpath.join(posixpath.dirname(page), target))


def relinked(markdown: str, page: str) -> str:
    """The page with links that hold in the site, for those that hold in the repository."""

    def moved(match: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(posixpath.dirname(page), match[1]))
        if not (ROOT / path).exists():
            return match[1]  # the build says that it leads nowhere
        return posixpath.relpath(site_path(path), posixpath.dirname(site_path(page)) or ".")

    parts = CODE.split(markdown)
    parts[::2] = [LINK.sub(moved, text) for text in parts[::2]]
    return "".join(parts)


def pages_of(folder: str, taken: set[str]) -> list[str]:
    """The pages in a folder of docs/ that the navigation does not name, by name."""
    found = sorted((ROOT / DOCS / folder).glob("*.md"))
    return [each for page in found if (each := f"{folder}{page.name}") not in taken]


def named(nav: Any) -> Iterator[str]:
    """Every page and folder of a navigation."""
    if isinstance(nav, str):
        yield nav
    else:
        for each in nav.values() if isinstance(nav, dict) else nav:
            yield from named(each)


def with_folders(nav: Any, taken: set[str] | None = None) -> Any:
    """The navigation with the pages of a folder, `decisions/`, in the folder's place."""
    taken = set(named(nav)) if taken is None else taken
    if isinstance(nav, dict):
        return {title: with_folders(each, taken) for title, each in nav.items()}
    if isinstance(nav, str):
        return nav
    filled = list[Any]()
    for each in nav:
        if isinstance(each, str) and each.endswith("/"):
            filled += pages_of(each, taken)
        else:
            filled.append(with_folders(each, taken))
    return filled


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Puts the pages of folders into the navigation, and gives headings the anchors that code hosts give them."""
    from pymdownx.slugs import slugify

    config.nav = with_folders(config.nav)
    config.mdx_configs.setdefault("toc", {})["slugify"] = slugify(case="lower")
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the files from outside of docs/: those of the navigation, and those that pages link to."""
    from mkdocs.structure.files import File

    waiting = [source_path(name) for name in named(config.nav)]
    for file in files.documentation_pages():
        waiting += linked(file.content_string, DOCS + file.src_uri)
    while waiting:
        path = waiting.pop()
        site = site_path(path)
        if path.startswith((DOCS, "..")) or files.get_file_from_path(site) or not (ROOT / path).is_file():
            continue
        files.append(File.generated(config, site, abs_src_path=str(ROOT / path)))
        if path.endswith(".md"):
            waiting += linked((ROOT / path).read_text(encoding="utf-8"), path)
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Leads the links of a page to where the site has their files."""
    return relinked(markdown, source_path(page.file.src_uri))
