"""What hatchling does besides when it builds a wheel: manual pages and completion files, made from the command itself.

They are not kept in the repository, so they cannot be out of date. In a wheel they are shared data: installed under
share/ of the environment, where man looks, and the shells too when the environment is /usr or /usr/local. An
editable installation goes without. It needs click, which pyproject.toml names among the requirements of the build.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

COMPLETIONS = {
    "bash": "bash-completion/completions/prise",
    "zsh": "zsh/site-functions/_prise",
    "fish": "fish/vendor_completions.d/prise.fish",
}


class SharedFiles(BuildHookInterface[Any]):
    """Makes the files before the build, and removes them after it."""

    temporary: tempfile.TemporaryDirectory[str] | None = None

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":
            return
        self.temporary = tempfile.TemporaryDirectory(prefix="prise-build-")
        folder = Path(self.temporary.name)
        for language in ("en", "fr"):
            self.run("scripts/manual.py", language, str(folder / "man"))
        for shell, place in COMPLETIONS.items():
            file = folder / place
            file.parent.mkdir(parents=True)
            file.write_bytes(self.run("-m", "prise", "completion", shell))
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                build_data["shared_data"][str(file)] = f"share/{file.relative_to(folder).as_posix()}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        if self.temporary is not None:
            self.temporary.cleanup()

    def run(self, *arguments: str) -> bytes:
        """What Python writes to stdout. It leaves no compiled files where it is about to look for what to pack."""
        # In front: installers put what the build requires on this very path.
        path = os.pathsep.join(filter(None, (str(Path(self.root, "src")), os.environ.get("PYTHONPATH"))))
        environment = {**os.environ, "PYTHONPATH": path, "PYTHONUTF8": "1", "LC_ALL": "C.UTF-8"}
        command = [sys.executable, "-B", *arguments]
        return subprocess.run(command, cwd=self.root, env=environment, stdout=subprocess.PIPE, check=True).stdout
