"""A prepared dataset in other people's programs: the obvious call gives the rows, pictures and all."""

import io
import shutil

import datasets
import duckdb
import pandas
import polars
import pytest
from PIL import Image

from data.prepared.dataset import Prepared


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.fixture(scope="module")
def rows(world):
    return [dict(row) for row in Prepared.open(world).rows()]


@pytest.fixture(params=["prepared", "copied"])
def folder(request, world, tmp_path):
    """As it is, and as somebody has copied or uploaded it."""
    if request.param == "prepared":
        return world
    return shutil.copytree(world, tmp_path / "copied")


@pytest.mark.parametrize("streaming", [False, True])
def test_datasets_by_the_folders_name(folder, rows, streaming):
    found = datasets.load_dataset(str(folder), split="train", streaming=streaming)
    assert [row["id"] for row in found] == [row["id"] for row in rows]
    first = next(iter(found))
    assert isinstance(first["frames"][0], Image.Image) and first["frames"][0].size == (96, 96)
    assert first["events"] == rows[0]["events"] and first["times_s"] == rows[0]["times_s"]


def test_polars(world, rows):
    found = polars.read_parquet(f"{world}/shard-*.parquet")
    assert found["id"].to_list() == [row["id"] for row in rows]
    assert found["times_s"].to_list() == [row["times_s"] for row in rows]
    assert int(found["events"].list.len().sum()) == sum(len(row["events"]) for row in rows)


def test_duckdb(world, rows):
    shards = f"'{world}/shard-*.parquet'"
    (found,) = duckdb.sql(f"select list(id order by id), sum(len(frames)) from {shards}").fetchall()
    assert found == (sorted(r["id"] for r in rows), sum(len(r["frames"]) for r in rows))
    asked = f"select f.bytes from (select unnest(frames) f from {shards}) limit 1"
    ((jpeg,),) = duckdb.sql(asked).fetchall()
    assert Image.open(io.BytesIO(jpeg)).size == (96, 96)
    text = (
        f"select count(*) from (select unnest(events) e from {shards}) where e.text like '%circle%'"
    )
    told = sum("circle" in e["text"] for row in rows for e in row["events"])
    assert duckdb.sql(text).fetchall() == [(told,)] and told


def test_pandas(world, rows):
    shards = [pandas.read_parquet(file) for file in sorted(world.glob("shard-*.parquet"))]
    found = pandas.concat(shards, ignore_index=True)
    assert list(found["id"]) == [row["id"] for row in rows]
    assert found["frames"][0][0]["bytes"][:2] == b"\xff\xd8"
    assert found["events"][0][0] == rows[0]["events"][0]


@pytest.mark.slow
def test_trls_own_trainer(world, tiny_folder, tmp_path):
    """Frames as images, by TRL's collator, from the folder's name to a step."""
    from transformers import AutoModelForImageTextToText, AutoProcessor
    from trl import SFTConfig, SFTTrainer

    from train.run.portable import make_portable

    base = shutil.copytree(tiny_folder, tmp_path / "base")
    make_portable(base)
    found = datasets.load_dataset(str(world), split="train").rename_column("frames", "images")

    def talk(row):
        answer = " ".join(event["text"] for event in row["events"])
        return {
            "prompt": [{"role": "user", "content": "Describe it."}],
            "completion": [{"role": "assistant", "content": answer}],
        }

    kept = [c for c in found.column_names if c not in ("images", "prompt")]
    trainer = SFTTrainer(
        model=AutoModelForImageTextToText.from_pretrained(base),
        processing_class=AutoProcessor.from_pretrained(base),
        train_dataset=found.map(talk, remove_columns=kept),
        args=SFTConfig(output_dir=str(tmp_path / "run"), max_steps=2, per_device_train_batch_size=2, max_length=None,
                       report_to="none", use_cpu=True, logging_steps=1, save_strategy="no"),
    )  # fmt: skip
    trainer.train()
    assert all(row["loss"] > 0 for row in trainer.state.log_history if "loss" in row)
