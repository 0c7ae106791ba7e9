"""What a model was given and what it said belong together; what it cannot say is said."""

import json
import os
import shutil

import pytest
from safetensors.torch import load_file, save_file

from data.config import load
from data.errors import UserError
from data.offline.config import PrepareConfig
from data.offline.prepare import prepare
from data.prepared.dataset import Prepared
from data.selection.config import FrameKeys
from data.sources.config import SourceKeys
from data.sources.files import videos_of
from tests.helpers.runs import train
from tests.helpers.videos import call_command
from train.batches.encode import without_marks
from train.evaluation.answers import answers, given_to
from train.evaluation.config import GenerateKeys
from train.inference.config import DescribeConfig, MergeConfig
from train.inference.describe import describe
from train.inference.generate import ANSWER_TOKENS, answer_length
from train.inference.identity import weights_sha256
from train.inference.merge import merge
from train.run.saved import read_run
from train.sections import DataKeys, ModelKeys


@pytest.fixture(scope="module")
def run(world, tiny_folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "lora"
    train(world, out, "train.steps=1", "data.eval_share=0", base=str(tiny_folder))
    return out


@pytest.fixture(scope="module")
def whole(world, tiny_folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "full"
    train(world, out, "train.steps=1", "data.eval_share=0", base=str(tiny_folder), method="full")
    return out


@pytest.fixture(scope="module")
def video(world):
    return str(min((world.parent / "videos").glob("*.mp4")))


# --- answers ------------------------------------------------------------------------------------


def asked(run, rows, file, monkeypatch):
    """Ids that a model was asked for, and all answers."""
    from train.evaluation import answers as module

    seen = []
    real = module.generation_prompt
    monkeypatch.setattr(
        module, "generation_prompt", lambda row, *a: (seen.append(row["id"]), real(row, *a))[1]
    )
    keys = GenerateKeys(max_new_tokens=4, batch=1)
    said = answers(read_run(run), rows, keys, file, dtype="auto", overwrite=False)
    monkeypatch.undo()
    return seen, {one.id: one for one in said}


def test_an_answer_counts_for_what_it_was_an_answer_to(world, run, tmp_path, monkeypatch):
    rows, file = Prepared.open(world).rows().select(range(3)), tmp_path / "answers.jsonl"
    ids = rows["id"]
    assert asked(run, rows, file, monkeypatch)[0] == ids
    assert asked(run, rows, file, monkeypatch)[0] == []

    def changed(key, value):
        return rows.map(lambda row, i: {key: value(row)} if i == 1 else {}, with_indices=True)

    other = {"bytes": rows[0]["frames"][0]["bytes"], "path": None}
    for key, value in (
        ("prompt", lambda _: "List every colour."),
        ("system", lambda _: "Be brief."),
        ("context", lambda _: "Speech: hello."),
        ("duration_s", lambda row: row["duration_s"] + 1),
        ("times_s", lambda row: [t + 0.5 for t in row["times_s"]]),
        ("ranks", lambda row: row["ranks"][::-1]),
        ("frames", lambda row: [other, *row["frames"][1:]]),
    ):
        assert asked(run, changed(key, value), file, monkeypatch)[0] == [ids[1]], key
    assert len(file.read_text().splitlines()) == 1 + 3  # what is stale is forgotten
    assert asked(run, rows, file, monkeypatch)[0] == [ids[1]]


def test_weights_are_known_by_what_they_are(whole, tmp_path):
    """Not by their name, size and time."""
    a, b = tmp_path / "a", tmp_path / "b"
    for folder, name in ((a, "model.safetensors"), (b, "model.safetensors")):
        folder.mkdir()
        shutil.copy2(whole / name, folder / name)
    assert weights_sha256(a) == weights_sha256(b) and weights_sha256(tmp_path) is None
    was = (b / "model.safetensors").stat()
    weights = load_file(b / "model.safetensors")
    weights["lm_head.weight"][0, 0] += 1
    save_file(weights, b / "model.safetensors", metadata={"format": "pt"})
    os.utime(b / "model.safetensors", ns=(was.st_atime_ns, was.st_mtime_ns))
    assert (b / "model.safetensors").stat().st_size == was.st_size
    assert weights_sha256(a) != weights_sha256(b)


def test_what_a_run_asks_is_part_of_it(world):
    row = Prepared.open(world).rows()[0]
    assert given_to(row, DataKeys()) == given_to(row, DataKeys(workers=0, path="elsewhere"))
    others = [
        DataKeys(target="paragraph"),
        DataKeys(system="Be brief."),
        DataKeys(prompt="What?"),
        DataKeys(max_tokens=100),
    ]
    assert len({given_to(row, k) for k in [DataKeys(), *others]}) == 5


# --- a dataset that changes in place ------------------------------------------------------------


def test_a_dataset_prepared_anew_is_read_anew(tmp_path):
    """Its shard's name, size in rows and time may be as before."""
    out = tmp_path / "o"

    def prepared(px):
        shutil.rmtree(out, ignore_errors=True)
        source = SourceKeys(name="microworld", path=str(tmp_path / "videos"), limit=2)
        prepare(
            PrepareConfig(source=source, frames=FrameKeys(max=2, px=px), out=str(out), workers=1)
        )
        os.utime(out / "shard-00000.parquet", (1e9, 1e9))
        return Prepared.open(out).sha256, Prepared.open(out).rows()["frames"][0][0]["bytes"]

    (one, small), (two, large), (three, again) = prepared(48), prepared(64), prepared(48)
    assert one != two and small != large and one == three and small == again
    (out / "shard-00000.parquet").write_bytes(b"PAR1 half")
    with pytest.raises(UserError, match="not a whole Parquet file"):
        Prepared.open(out)


def test_a_dataset_of_another_format_can_be_prepared_again(tmp_path):
    keys = PrepareConfig(
        source=SourceKeys(name="microworld", path=str(tmp_path / "videos"), limit=2),
        frames=FrameKeys(max=2, px=48), out=str(tmp_path / "o"), workers=1,
    )  # fmt: skip
    prepare(keys)
    manifest = json.loads((tmp_path / "o/manifest.json").read_text())
    old = {**manifest, "format_version": 3}
    (tmp_path / "o/manifest.json").write_text(json.dumps(old))
    with pytest.raises(UserError, match="prepare the dataset again, with overwrite=true"):
        Prepared.open(tmp_path / "o")
    with pytest.raises(UserError, match=r"format_version differs.*overwrite=true"):
        prepare(keys)
    prepare(keys.model_copy(update={"overwrite": True}))
    assert len(Prepared.open(tmp_path / "o").rows()) == 2


# --- what cannot be said ------------------------------------------------------------------------


def test_no_numbers_are_no_empty_text(whole, video, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(whole, broken)
    weights = load_file(broken / "model.safetensors")
    for name in (
        "model.connector.modality_projection.proj.weight",
        "model.vision_model.post_layernorm.weight",
    ):
        weights[name] *= 1e30
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match="no numbers in float32: its weights are damaged"):
        list(
            describe(
                load(DescribeConfig, [f"adapter={broken}"]), read_run(broken), videos_of([video])
            )
        )


def test_merging_compares_what_is_saved(world, tiny_folder, tmp_path):
    """Activations of a million are nothing to bf16, and infinite to fp16."""
    base = tmp_path / "base"
    shutil.copytree(tiny_folder, base)
    weights = load_file(base / "model.safetensors")
    for name in weights:
        if "text_model.layers.1.mlp.up_proj" in name:
            weights[name] *= 3e6
        if "text_model.layers.1.mlp.down_proj" in name:
            weights[name] /= 3e6
    save_file(weights, base / "model.safetensors", metadata={"format": "pt"})
    train(world, tmp_path / "run", "train.steps=1", "data.eval_share=0", base=str(base))
    argv = [f"adapter={tmp_path}/run", f"out={tmp_path}/merged"]
    with pytest.raises(UserError, match=r"dtype=fp16: .*nothing is saved.*dtype=bf16"):
        merge(load(MergeConfig, [*argv, "dtype=fp16"]))
    assert not list(tmp_path.glob("merged*"))
    merge(load(MergeConfig, [*argv, "dtype=bf16"]))
    assert (tmp_path / "merged/model.safetensors").is_file()


def test_a_cut_answer_and_unseen_frames_are_told(run, video, tmp_path):
    few = tmp_path / "few"
    shutil.copytree(run, few)
    policy = json.loads((few / "frame_policy.json").read_text())
    (few / "frame_policy.json").write_text(
        json.dumps({**policy, "ask": {**policy["ask"], "max_tokens": 72}})
    )
    done = call_command(
        "scripts/describe.py", video, f"adapter={few}", "max_new_tokens=4", "format=json"
    )
    told = json.loads(done.stdout)
    assert told["cut"] and told["frames_left_out"] > 0 and len(told["times_s"]) >= 1
    assert len(told["times_s"]) + told["frames_left_out"] == 6
    notes = [line for line in done.stderr.splitlines() if line.startswith("note: ")]
    assert len(notes) == 2 and "answer was cut off" in notes[0]
    assert f"{told['frames_left_out']} of 6 frames did not fit" in notes[1]


def test_an_answer_may_be_as_long_as_those_learned(run, tmp_path):
    longest = json.loads((run / "run.json").read_text())["longest_answer"]
    assert 50 < longest < 200 and read_run(run).longest_answer == longest
    assert answer_length(read_run(run)) == ANSWER_TOKENS
    long = tmp_path / "long"
    shutil.copytree(run, long)
    record = json.loads((long / "run.json").read_text())
    (long / "run.json").write_text(json.dumps({**record, "longest_answer": 900}))
    assert answer_length(read_run(long)) == 900


def test_a_word_added_to_the_vocabulary_stays_a_word(tiny_folder, tmp_path):
    from train.model.load import load_processor

    processor = load_processor(ModelKeys(name=str(tiny_folder)))
    processor.tokenizer.add_tokens(["yellow", "[SCENE]", "<loc001>"])
    told = without_marks("A yellow [SCENE] at <loc001> <image> <<image>>.", processor)
    assert told == "A yellow [SCENE] at <loc001> image image."
