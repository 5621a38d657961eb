"""Every page's code blocks run, in the order in which a reader meets them.

The rules, for whoever writes a page:

- ``python`` blocks of a page make one script; after an ``sh`` block a new script begins.
- ``sh`` blocks run under bash in the same folder; those of the README run in ``.ci/run``.
- ``{code-block} python`` with ``:caption: NAME`` is the file NAME, for later blocks to use.
- Blocks in any other language (``console``, ``text``, ``toml``) are only shown; in a tutorial a
  ``text`` block is what its reader sees printed, or finds in a file.

A page runs in an empty folder, without a server.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

import healthstore

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block: where its text begins, its language, the file it is, and its text."""

    line: int
    language: str
    file: str | None
    text: str


def blocks(page: Path) -> list[Block]:
    """Return the fenced blocks of a page that are not only shown."""
    found: list[Block] = []
    for token in MarkdownIt("commonmark").parse(page.read_text("utf-8")):
        if token.type != "fence" or token.map is None:
            continue
        language, text, file = token.info.strip(), token.content, None
        line = token.map[0] + 1
        if language.startswith("{code-block}"):
            options = [row for row in text.splitlines() if row.startswith(":")]
            captions = [row for row in options if row.startswith(":caption:")]
            file = captions[0].removeprefix(":caption:").strip() if captions else None
            text = "".join(text.splitlines(keepends=True)[len(options) :]).lstrip("\n")
        elif language not in {"python", "sh"}:
            continue
        found.append(Block(line, language, file, text))
    return found


def steps(page: Path) -> list[Block]:
    """Join neighbouring python blocks into scripts whose line numbers are those of the page."""
    joined: list[Block] = []
    for block in blocks(page):
        if page.name == "README.md" and block.language == "sh":
            continue
        last = joined[-1] if joined else None
        if block.language == "python" and last is not None and last.language == "python":
            gap = "\n" * (block.line - last.text.count("\n"))
            joined[-1] = Block(0, "python", None, last.text + gap + block.text)
        elif block.language == "python":
            joined.append(Block(0, "python", None, "\n" * block.line + block.text))
        else:
            joined.append(block)
    return joined


def environment() -> dict[str, str]:
    """Return an environment with our own programs first on PATH and no setting of ours."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HEALTHSTORE")}
    return kept | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "page",
    [pytest.param(page, id=str(page.relative_to(ROOT))) for page in PAGES if steps(page)],
)
def test_code_blocks_run(page: Path, tmp_path: Path) -> None:
    """The code blocks of a page run from top to bottom in an empty folder."""
    printed = run(page, tmp_path)
    if page.parent.name == "tutorial":
        written = [each.read_text("utf-8") for each in tmp_path.rglob("*.py")]
        assert [text for text in shown(page) if text not in printed and text not in written] == []


def test_the_tutorial_prints_what_it_shows_and_runs_twice(tmp_path: Path) -> None:
    """A learner sees the output that the page shows, also when the program runs again."""
    page = ROOT / "docs/tutorial/first-service.md"
    (text,) = shown(page)
    assert [run(page, tmp_path), run(page, tmp_path)] == [text, text]


def shown(page: Path) -> list[str]:
    """Return the texts that a page shows."""
    tokens = MarkdownIt("commonmark").parse(page.read_text("utf-8"))
    return [token.content for token in tokens if token.info == "text"]


def run(page: Path, folder: Path) -> str:
    """Run the steps of a page in a folder and return what they print."""
    printed = ""
    for step in steps(page):
        if step.file is not None:
            (folder / step.file).write_text(step.text, "utf-8")
            continue
        if step.language == "python":
            script = folder / f"{page.stem.replace('-', '_')}_page.py"
            script.write_text(step.text, "utf-8")
            command = [sys.executable, "-X", "dev", "-W", "error", str(script)]
        else:
            command = ["bash", "-euo", "pipefail", "-c", step.text]
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment(),
            stdout=subprocess.PIPE,
            # A shell shows both; python -X dev has its own to say.
            stderr=subprocess.STDOUT if step.language == "sh" else subprocess.PIPE,
            text=True,
            timeout=50,
            check=False,
        )
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        printed += done.stdout
    return printed


def test_the_readme_begins_with_its_two_commands() -> None:
    """The README's first two sh blocks are one line each: the main job, and the tests."""
    commands = [block.text for block in blocks(ROOT / "README.md") if block.language == "sh"]
    assert [command.count("\n") for command in commands[:2]] == [1, 1]
    assert commands[0].rstrip().endswith("healthstore demo")
    assert commands[1].rstrip().endswith("nox -s tests")


def test_the_reference_lists_every_name() -> None:
    """What is imported from healthstore itself is on its page, in one of the groups."""
    page = (ROOT / "docs/reference/healthstore.md").read_text("utf-8")
    listed = {row.split(":: ")[1] for row in page.splitlines() if row.startswith(".. auto")}
    assert set(healthstore.__all__) - {"__version__"} <= listed


def test_a_page_is_read_as_a_reader_reads_it(tmp_path: Path) -> None:
    """Python blocks keep their line numbers, captions name files, console is only shown."""
    page = tmp_path / "page.md"
    page.write_text(
        "# Page\n\n```{code-block} python\n:caption: models.py\n\nx = 1\n```\n\n"
        "```python\na = 1\n```\ntext\n```python\nb = 2\n```\n"
        "```sh\ntrue\n```\n```console\n$ false\n```\n```python\nc = 3\n```\n",
        "utf-8",
    )
    file, first, shell, second = steps(page)
    assert (file.file, file.text) == ("models.py", "x = 1\n")
    rows = page.read_text("utf-8").splitlines()
    for script in (first, second):
        for number, row in enumerate(script.text.splitlines()):
            assert row in {"", rows[number]}
    assert shell.text == "true\n"
    assert second.text.strip() == "c = 3"
