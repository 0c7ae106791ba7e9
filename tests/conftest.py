import os

os.environ["HF_HUB_OFFLINE"] = "1"  # before any library reads it
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import gc
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
REAL_CLIPS = ROOT.parent / "shared" / "videos"


def pytest_collection_finish() -> None:
    """The libraries, imported by now, stay: the full collection at the end of each training need not go through them,
    which takes half a second."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def real_clips() -> Path:
    """Real clips with hand labels, where this checkout has them beside it."""
    if not (REAL_CLIPS / "clips.jsonl").is_file():
        pytest.skip("no real clips beside this checkout")
    return REAL_CLIPS


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from train.model import tiny

    return tiny.build(tmp_path_factory.mktemp("tiny") / "base")


@pytest.fixture(scope="session")
def processor(tiny_folder: Path):
    from train.model.load import load_processor
    from train.sections import ModelKeys

    return load_processor(ModelKeys(name=str(tiny_folder)))


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 micro-world videos, prepared with at most 6 frames."""
    from data.offline.config import PrepareConfig
    from data.offline.prepare import prepare
    from data.selection.config import FrameKeys
    from data.sources.config import SourceKeys

    folder = tmp_path_factory.mktemp("world")
    prepare(
        PrepareConfig(
            source=SourceKeys(name="microworld", path=str(folder / "videos"), limit=24),
            frames=FrameKeys(max=6, px=96),
            out=str(folder / "prepared"),
            workers=2,
        )
    )
    return folder / "prepared"


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory):
    """Runs commands in forks."""
    from tests.helpers.commands import Commands

    commands = Commands(tmp_path_factory.mktemp("server"))
    yield commands
    commands.close()
