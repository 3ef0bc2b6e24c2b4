"""Checks the prose of the project: `python tools/prose.py [PATH ...]`, by default every tracked file.

It reads Markdown outside code blocks, Python docstrings, and the comments of Python, Lua, TOML and YAML. It also reads
the strings for users: `suggestion=`, `description=` and `help=`. It prints `path:line: finding`, and exits 1 if there
is a finding.

- A sentence has at most 25 words, and the sentences of a page at most 16 on average. A code span, a path or an
  identifier counts as one word. List items and table cells are read by themselves.
- A sentence does not begin with a clause that lacks its subject ("Who waits …", "What remains …").
- Retired names and word-by-word translations are refused; each finding names the word to write instead.

`tools/prose_allowed.txt` lists the exceptions.
"""

from __future__ import annotations

import ast
import io
import re
import subprocess
import sys
import textwrap
import tokenize
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ALLOWED = ROOT / "tools" / "prose_allowed.txt"
LONGEST, AVERAGE = 25, 16
ENOUGH = 8  # sentences, below which an average says nothing
USER_TEXTS = {"suggestion", "description", "help"}  # keyword arguments and class attributes

# Each pattern is searched in a sentence whose code spans, paths and identifiers are taken out.
PHRASES = {
    r"anew": "again",
    r"(?<!all )(?<!each )(?<!most )(?<!none )(?<!one )(?<!some )of which": "start a new sentence",
    r"of whom": "start a new sentence",
    r"none any ?more": "say what happened to it",
    r"for want of": "because … is missing",
    r"whoever": "name the subject",
    r"(?:there|where)(?:of|from|upon|in)": "repeat the noun",
    r"(?:for|to|by|from|of|with|than) who": "name the subject",
    r"bells?": "wake-up",
    r"rung": "woken",
    r"gate": "admission control",
    r"keepers?": "lease renewer",
    r"pacers?|pacing": "rate limiter",
    r"(?<!cluster )(?<!hash )slots": "concurrency limiter",
    r"gatherers?": "micro-batcher",
    r"judg(?:e|es|ed|ing)": "settle, decide or check",
    r"bur(?:y|ies|ied|ying)": "dead-letter",
    r"(?<!dead )(?<!dead-)(?<!capital )(?<!case )letters?(?!,? (?:and |or )?digits?)": "dead letter",
    r"nasty": "hostile",
    r"(?<!real )(?<!hello )worlds?": "system under test",
    r"the books": "invariants",
    r"(?<!test )bed": "test bed",
    r"mend(?:s|ed|ing)?": "repair, fix or remedy",
    r"likeness": "similarity",
    r"overtaken": "stale attempt",
    r"turned away": "rejected",
    r"steer(?:s|ed|ing)?": "control",
    r"applied marks?": "applied key",
    r"the together": "auto-pipeline",
}
REFUSED = [(re.compile(rf"\b(?:{pattern})\b", re.IGNORECASE), advice) for pattern, advice in PHRASES.items()]
HEADLESS = re.compile(r"(?:who|what|whose|whatever)\b.*[^?]$", re.IGNORECASE | re.DOTALL)

CODE = "◊"
CODE_SPAN = re.compile(r"``.+?``|`[^`\n]+`")
IDENTIFIER = re.compile(r"[\w./:-]*[\w)\]](?:[_/.=(\[:]|::)[\w([{/][\w./:=()\[\]{}*-]*|\w+\([^)\s]*\)|\w+_\w*|_\w+")
LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)|<https?://[^>]*>|https?://\S+")
ENUMERATION = re.compile(rf"{CODE}(?:,? (?:and |or )?{CODE}| {CODE})+")
ABBREVIATION = re.compile(r"\b(e\.g|i\.e|etc|vs|approx)\.", re.IGNORECASE)
SENTENCE_END = re.compile(rf"(?<=[.!?…])[\"')\]*]*\s+(?=[\"'(\[*]*[A-Z0-9{CODE}])")
WORD = re.compile(rf"[^\W_]|{CODE}")

BULLET = re.compile(r"^(?:[-*+]|\d+[.)])\s+")
ENTRY = re.compile(  # "name: meaning" in a docstring's section, and the parts of a script's head
    r"[*\w.`\[\]]+(?: \([^)]*\))?:(?:\s|$)|(?:KEYS|ARGV|Returns)\b|\d+(?:\.\.\.)? "
)
DRAWING = re.compile(r"[│├└─┌┐┘→▼▲]|[-=]{2,}[>+|]|[<+|][-=]{2,}|\+--|^\s*[|^v+/\\ ]+$|^\W*$")
COLUMNS = re.compile(r"\S {3,}\S")
DIRECTIVE = re.compile(r"#(?:!|\s*(?:noqa|type:|ruff:|mypy:|pragma:|fmt:|pyright))")


@dataclass(frozen=True)
class Block:
    """A paragraph, list item, table cell or string, and the line it begins on."""

    line: int
    text: str
    label: bool = False  # a heading or the head of a table: its length and its form are free


@dataclass(frozen=True)
class Finding:
    """One thing to write in another way."""

    path: str
    line: int
    what: str
    sentence: str

    def __str__(self) -> str:
        shown = textwrap.shorten(self.sentence, 120, placeholder=" ...")
        return f"{self.path}:{self.line}: {self.what}" + (f": {shown}" if shown else "")


def markdown_blocks(source: str) -> Iterator[Block]:
    """The paragraphs, list items, headings and table cells of a page, without code blocks and comments."""
    source = re.sub(r"<!--.*?-->", lambda match: "\n" * match[0].count("\n"), source, flags=re.DOTALL)
    fence, lines = "", list[tuple[int, str]]()
    rows = source.splitlines()
    for number, line in enumerate(rows, 1):
        bare = line.strip()
        marker = re.match(r"`{3,}|~{3,}", bare)
        table = bare.startswith("|")
        if marker or fence or table or bare.startswith("#"):
            yield from paragraphs(lines, entries=False)
            lines = []
        if marker and (not fence or bare == fence):
            fence = "" if fence else marker[0]
        elif fence:
            continue
        elif table:
            head = number < len(rows) and re.fullmatch(r"[|\s:-]+", rows[number].strip()) is not None
            cells = re.split(r"(?<!\\)\|", bare.strip("|"))
            yield from (Block(number, cell.strip(), label=head) for cell in cells if WORD.search(cell))
        elif bare.startswith("#"):
            yield Block(number, bare.lstrip("# "), label=True)
        else:
            lines.append((number, line.replace("> ", "", 1) if bare.startswith("> ") else line))
    yield from paragraphs(lines, entries=False)


def python_blocks(source: str) -> Iterator[Block]:
    """The docstrings, comments and user texts of a module."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(text := getattr(first.value, "value", None), str):
                yield from paragraphs(list(enumerate(text.splitlines(), first.lineno)), code_by_indent=True)
        elif isinstance(node, ast.keyword) and node.arg in USER_TEXTS:
            yield from _user_texts(node.value)
        elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(target, ast.Name) and target.id in USER_TEXTS for target in targets):
                yield from _user_texts(node.value)
    comments = [
        (token.start[0], token.start[1], token.string, not token.line[: token.start[1]].strip())
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT and not DIRECTIVE.match(token.string)
    ]
    yield from _comment_blocks(comments, "#")


def lua_blocks(source: str) -> Iterator[Block]:
    """The comments of a script."""
    return _comments_after("--", source)


def settings_blocks(source: str) -> Iterator[Block]:
    """The comments of a TOML or YAML file."""
    return _comments_after("#", source)


def _comments_after(mark: str, source: str) -> Iterator[Block]:
    comments = list[tuple[int, int, str, bool]]()
    for number, line in enumerate(source.splitlines(), 1):
        code = re.sub(r"'[^']*'|\"[^\"]*\"", lambda match: "x" * len(match[0]), line)
        if found := re.search(rf"(?:^|\s)({mark})", code):
            start = found.start(1)
            comments.append((number, start, line[start:], not line[:start].strip()))
    yield from _comment_blocks(comments, mark[0])


READERS = {
    ".md": markdown_blocks,
    ".py": python_blocks,
    ".lua": lua_blocks,
    ".toml": settings_blocks,
    ".yaml": settings_blocks,
    ".yml": settings_blocks,
}


def _user_texts(value: ast.expr) -> Iterator[Block]:
    if isinstance(value, ast.IfExp | ast.BoolOp | ast.BinOp):
        parts = {ast.IfExp: ("body", "orelse"), ast.BinOp: ("left", "right")}.get(type(value), ())
        nested = value.values if isinstance(value, ast.BoolOp) else [getattr(value, part) for part in parts]
        for part in nested:
            yield from _user_texts(part)
    elif isinstance(value, ast.Constant) and isinstance(value.value, str):
        yield Block(value.lineno, value.value)
    elif isinstance(value, ast.JoinedStr):
        text = "".join(str(part.value) if isinstance(part, ast.Constant) else CODE for part in value.values)
        yield Block(value.lineno, text)


def _comment_blocks(comments: Iterable[tuple[int, int, str, bool]], sign: str) -> Iterator[Block]:
    """Comments on lines of their own that follow one another are one text; others stand by themselves."""
    lines, place = list[tuple[int, str]](), (0, 0)
    for number, column, text, alone in comments:
        if not alone or (number, column) != place:
            yield from paragraphs(lines)
            lines = []
        lines.append((number, text.lstrip(sign).removeprefix(" ")))
        place = (number + 1, column) if alone else (0, 0)
    yield from paragraphs(lines)


def paragraphs(
    lines: Sequence[tuple[int, str]], *, code_by_indent: bool = False, entries: bool = True
) -> Iterator[Block]:
    """Splits text at blank lines, list items, entries of a docstring's section, tables and drawings."""
    margin = min((_indent(text) for _, text in lines[1:] if text.strip()), default=0)
    begun, parts, after_blank, in_code = 0, list[str](), False, False
    for number, text in lines:
        bare = text.strip()
        deeper = bool(bare) and _indent(text) >= margin + 4
        in_code = code_by_indent and deeper and (in_code or after_blank or parts[-1:] == ["::"])
        skipped = not bare or in_code or bare.startswith((">>> ", "... ")) or DRAWING.search(text) is not None
        columns = not skipped and COLUMNS.search(bare) is not None
        begins = BULLET.match(bare) or (entries and ENTRY.match(bare))
        if parts and (skipped or columns or begins or parts[-1].endswith("::")):
            yield Block(begun, " ".join(parts))
            parts = []
        after_blank = not bare
        if columns:
            yield from (Block(number, cell) for cell in re.split(r" {2,}", bare))
        elif not skipped:
            begun = begun if parts else number
            parts.append(BULLET.sub("", bare, count=1) if not parts else bare)
    if parts:
        yield Block(begun, " ".join(parts))


def _indent(text: str) -> int:
    return len(text) - len(text.lstrip())


def sentences(block: Block) -> list[str]:
    """The block's sentences, with one sign in the place of each code span, path and identifier."""
    text = CODE_SPAN.sub(CODE, block.text)
    text = LINK.sub(lambda match: match[1] or CODE, text)
    text = ABBREVIATION.sub(lambda match: match[1].replace(".", ""), text)
    text = IDENTIFIER.sub(lambda match: CODE + match[0][len(match[0].rstrip(".,:;")) :], text)
    return [sentence for sentence in SENTENCE_END.split(ENUMERATION.sub(CODE, text)) if WORD.search(sentence)]


def words(sentence: str) -> int:
    """How many words a sentence of `sentences` has; signs between spaces are none."""
    return sum(1 for word in sentence.split() if WORD.search(word))


def check(path: str, source: str) -> list[Finding]:
    """Every finding in one file; the suffix of `path` decides how it is read."""
    found, lengths = list[Finding](), list[int]()
    for block in READERS[Path(path).suffix](source):
        for sentence in sentences(block):
            count = words(sentence)
            if not block.label:
                lengths.append(count)
                if count > LONGEST:
                    found.append(Finding(path, block.line, f"{count} words, at most {LONGEST}", sentence))
                if count > 2 and HEADLESS.match(sentence.lstrip("\"'(*_ ")):  # noqa: PLR2004  # "what" heads a column
                    found.append(Finding(path, block.line, "a clause without its subject", sentence))
            for pattern, advice in REFUSED:
                if match := pattern.search(sentence):
                    found.append(Finding(path, block.line, f'"{match[0]}" ({advice})', sentence))
    if len(lengths) >= ENOUGH and sum(lengths) > AVERAGE * len(lengths):
        found.append(Finding(path, 1, f"{sum(lengths) / len(lengths):.1f} words a sentence, at most {AVERAGE}", ""))
    return sorted(found, key=lambda finding: finding.line)


def allowed(lines: Iterable[str]) -> set[tuple[str, str]]:
    """The exceptions: a path and a part of the sentence, with a tab between them; `#` begins a reason."""
    pairs = (line.rstrip("\n").partition("\t") for line in lines if line.strip() and not line.startswith("#"))
    return {(path, part) for path, _, part in pairs}


def files(arguments: Sequence[str]) -> list[str]:
    """The tracked files below the given paths, or all of them, that hold prose."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *arguments],  # noqa: S607
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split("\0")
    return [path for path in listed if Path(path).suffix in READERS and (ROOT / path).is_file()]


def main(arguments: Sequence[str]) -> int:
    """Prints the findings in the files below the given paths and returns 1 if there are any."""
    exceptions = allowed(ALLOWED.read_text(encoding="utf-8").splitlines()) if ALLOWED.is_file() else set()
    found = [
        finding
        for path in files(arguments)
        for finding in check(path, (ROOT / path).read_text(encoding="utf-8"))
        if not any(path == where and part in finding.sentence for where, part in exceptions)
    ]
    for finding in found:
        sys.stdout.write(f"{finding}\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
