"""A hook of mkdocs (mkdocs.yml): what the site shows differently from the repository.

A link out of docs/, to a program or another page of the repository, has nowhere to go on the site: the path stands in its place.
"""

from __future__ import annotations

import posixpath
import re
from typing import Any

LINK = re.compile(r"(?<!!)\[([^\]]+)\]\((\.\./[^)\s]+)\)")


def on_page_markdown(markdown: str, page: Any, **_more: Any) -> str:
    folder = posixpath.dirname(f"docs/{page.file.src_uri}")

    def replaced(match: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(folder, match[2]))
        if path.startswith("docs/"):
            return match[0]
        words = match[1].strip("`")
        return f"`{path}`" if path.endswith(words) else f"{match[1]} (`{path}`)"

    return LINK.sub(replaced, markdown)
