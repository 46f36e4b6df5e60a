"""Every code block of the documentation is run, as its reader would run it; tests/pages/blocks.py says how."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pages.blocks import blocks
from peers import need

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = {"docs": "**/*.md", ".": "*.md", "examples": "*.md", "php": "*.md", "fuzz": "*.md", "benchmarks": "*.md"}
PAGES = sorted(page for folder, pattern in FOLDERS.items() for page in (ROOT / folder).glob(pattern))
YES_AND_NO = {"yes": "+", "oui": "+", "no": "-", "non": "-"}
ALONE = ["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
if os.geteuid():
    ALONE += ["--user", "--map-root-user"]


def original(page: Path) -> Path:
    """The English page of a French one."""
    return page.with_name(page.name.replace(".fr.md", ".md"))


def anything_to_run(page: Path) -> bool:
    """Not where all is text, nor in a French page with the very blocks of the English one, which is run."""
    own = [(block.language, block.text, block.title) for block in blocks(page)]
    if page != original(page) and own == [
        (block.language, block.text, block.title) for block in blocks(original(page))
    ]:
        return False
    return any(block.language != "text" and "by" not in block.words for block in blocks(page))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_the_page_says_is_so(page: Path, tmp_path: Path) -> None:
    need("unshare", "bash")
    if not anything_to_run(page):
        return
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("COVERAGE_", "COV_", "PYTEST_"))
    }
    environment |= {"PYTHONPATH": f"{ROOT / 'tests'}:{ROOT / 'src'}", "LC_ALL": "C.UTF-8"}
    for name in ("DATA", "STATE", "CACHE", "CONFIG"):
        environment[f"XDG_{name}_HOME"] = str(tmp_path / f".{name.lower()}")
    done = subprocess.run(
        ["unshare", *ALONE, sys.executable, "-W", "error", "-m", "pages.runner", str(page)],
        cwd=tmp_path,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=55,
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_who_runs_a_block_elsewhere_knows_the_page(page: Path) -> None:
    for test in {block.words["by"] for block in blocks(page) if "by" in block.words}:
        names = (page.name, original(page).name)
        assert any(name in (ROOT / test).read_text(encoding="utf-8") for name in names), (
            f"{test} does not name {page.name}"
        )


@pytest.mark.parametrize("page", [page for page in PAGES if page != original(page)], ids=lambda page: page.name)
def test_a_translation_has_the_parts_of_its_original(page: Path) -> None:
    """As many headings, blocks, tables and pictures, and the same yes and no: what was changed in one is missing in the other."""

    def parts(text: str) -> dict[str, object]:
        prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
        return {
            "headings": len(re.findall(r"^#+ ", prose, re.MULTILINE)),
            "blocks": text.count("```"),
            "rows of tables": len(re.findall(r"^\|", prose, re.MULTILINE)),
            "pictures": prose.count("!["),
            "yes and no": [YES_AND_NO[word] for word in re.findall(r"\| *(yes|no|oui|non)[¹²³⁴⁵]* *(?=\|)", prose)],
        }

    assert parts(page.read_text(encoding="utf-8")) == parts(original(page).read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    prose = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        if "://" not in target and not target.startswith(("#", "mailto:")):
            assert (page.parent / target.partition("#")[0]).exists(), target
