"""A folder of videos described: what is written, what continues, what is refused."""

import json
import os
import re
import shutil
from pathlib import Path

import av
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.config import load
from data.errors import UserError
from data.sources import microworld
from data.sources.files import Listed, videos_of
from tests.helpers.judge import judging
from tests.helpers.runs import contents, train
from tests.helpers.videos import call_command
from train.inference.config import DescribeConfig
from train.inference.cues import srt, vtt
from train.inference.describe import describe, run_for
from train.inference.folder import describe as module
from train.inference.folder.describe import describe_folder
from train.inference.folder.files import names_of
from train.inference.generate import generation_prompt
from train.inference.rows import rows_of
from train.run.saved import read_run


@pytest.fixture(scope="module")
def run(world, tiny_folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "lora"
    train(world, out, "train.steps=1", "data.eval_share=0", base=str(tiny_folder))
    policy = json.loads((out / "frame_policy.json").read_text())
    policy["frames"] |= {"max": 3, "window_s": 30.0}
    (out / "frame_policy.json").write_text(json.dumps(policy))
    return out


@pytest.fixture(scope="module")
def videos(world, tmp_path_factory):
    """Seven good ones, one of them a film of several windows, and two bad ones."""
    folder = tmp_path_factory.mktemp("described") / "videos"
    (folder / "more").mkdir(parents=True)
    for i, path in enumerate(sorted((world.parent / "videos").glob("*.mp4"))[:6]):
        shutil.copy(path, folder / ("more" if i % 2 else ".") / f"clip{i}.mp4")
    microworld.render(1, 0, folder, (80.0, 90.0)).replace(folder / "film.mp4")
    (folder / "bad.mp4").write_bytes(b"no video")
    (folder / "more/empty.mkv").touch()
    return folder


def start(run, videos, out, *more):
    batch = [] if any(key.startswith("batch=") for key in more) else ["batch=3"]
    argv = [
        *map(str, videos), f"adapter={run}", f"out={out}", "max_new_tokens=12", "workers=1", *batch, *more,
    ]  # fmt: skip
    config = load(DescribeConfig, argv, "videos")
    return describe_folder(config, run_for(config), videos_of(config.videos))


@pytest.fixture(scope="module")
def quiet(run, videos, tmp_path_factory):
    out = tmp_path_factory.mktemp("quiet") / "out"
    assert start(run, [videos], out) == (9, 2)
    return out


def results(out):
    return {name: data for name, data in contents(out).items() if not name.startswith("work")}


def records(out):
    return [json.loads(line) for line in (out / "descriptions.jsonl").read_text().splitlines()]


def test_every_video_has_a_record_in_order_and_files_that_players_read(quiet, videos):
    told = records(quiet)
    assert [one["id"] for one in told] == [one.id for one in videos_of([str(videos)])]
    bad = {one["id"]: one["reason"] for one in told if "error" in one}
    assert bad == {"bad.mp4": "unreadable", "more/empty.mkv": "unreadable"}
    assert all(str(videos) in one["error"] for one in told if "error" in one)
    film = next(one for one in told if one["id"] == "film.mp4")
    assert film["windows"] >= 3 and len(film["times_s"]) == 3 * film["windows"]
    names = {Path(name).name for name in results(quiet)}
    assert {"film.srt", "film.vtt", "film.txt", "film.jpg", "clip1.srt", "index.html"} <= names
    assert (quiet / "videos/film.txt").read_text() == film["text"] + "\n"
    table = pq.read_table(quiet / "descriptions.parquet").to_pylist()
    assert [row["id"] for row in table] == [one["id"] for one in told]
    assert table[0]["error"] == told[0]["error"] and table[1]["text"] == told[1]["text"]
    page = (quiet / "index.html").read_text()
    assert page.count("<article") == 9 and "film.mp4" in page and "unreadable" in page


def test_what_is_written_is_what_is_printed(quiet, run, videos):
    """Rows of the prepared dataset and frames chosen on the spot give the same words."""
    config = load(DescribeConfig, [f"adapter={run}", "max_new_tokens=12"])
    listed = videos_of([str(videos)])
    printed = list(describe(config, read_run(run), listed))
    written = records(quiet)
    same = ("id", "video", "times_s", "duration_s", "windows", "reason", "policy")
    assert [{k: one.get(k) for k in same} for one in printed] == [
        {k: one.get(k) for k in same} for one in written
    ]


class Killed(BaseException):
    """As SIGKILL: nothing of ours catches it."""


@pytest.mark.parametrize("after", [0, 1, 2])
def test_a_stopped_call_continues_and_ends_with_the_same_bytes(
    quiet, run, videos, tmp_path, monkeypatch, after
):
    stored, asked = [], []
    real, answers = module.append, module._answers

    def append(work, rank, some):
        if len(stored) == after:
            raise Killed
        stored.append(len(some))
        real(work, rank, some)

    out = tmp_path / "out"
    monkeypatch.setattr(module, "append", append)
    with pytest.raises(Killed):
        start(run, [videos], out)
    monkeypatch.setattr(module, "append", real)
    with (out / "work/answers-0.jsonl").open("a") as log:
        log.write('{"part": 0, "row"')  # cut in half by the kill
    monkeypatch.setattr(
        module, "_answers", lambda *a: (asked.append(len(b)) or b for b in answers(*a))
    )
    assert start(run, [videos], out) == (9, 2)
    assert results(out) == results(quiet)
    windows = sum(one["windows"] for one in records(out) if "error" not in one)
    assert sum(asked) + sum(stored) == windows
    assert start(run, [videos], out) == (9, 2) and sum(asked) + sum(stored) == windows
    assert results(out) == results(quiet)


def test_more_videos_are_described_and_the_others_are_left_as_they_are(
    run, videos, tmp_path, monkeypatch
):
    folder, out = tmp_path / "videos", tmp_path / "out"
    folder.mkdir()
    for name in ("clip0.mp4", "clip2.mp4", "bad.mp4"):
        shutil.copy(videos / name, folder / name)
    assert start(run, [folder], out) == (3, 1)
    before = {one["id"]: one for one in records(out)}
    shutil.copy(videos / "more/clip1.mp4", folder / "b.mp4")  # new
    shutil.copy(videos / "clip4.mp4", folder / "bad.mp4")  # repaired
    prepared = []
    real = module.prepare_part
    monkeypatch.setattr(
        module,
        "prepare_part",
        lambda part, *a: (prepared.append([v.id for v in part.wanted]), real(part, *a)),
    )
    assert start(run, [folder], out) == (4, 0)
    assert prepared[-1] == ["b.mp4", "bad.mp4"] and len(prepared) == 2
    after = {one["id"]: one for one in records(out)}
    assert list(after) == ["b.mp4", "bad.mp4", "clip0.mp4", "clip2.mp4"]
    assert all(after[name] == before[name] for name in ("clip0.mp4", "clip2.mp4"))
    (folder / "clip2.mp4").unlink()  # gone: it is no longer told of
    assert start(run, [folder], out) == (3, 0)
    assert "clip2" not in (out / "index.html").read_text()


def test_whoever_resumes_with_another_batch_counts_each_video_once(
    quiet, run, videos, tmp_path, monkeypatch
):
    real, out = module.append, tmp_path / "moved" / "out"

    def append(work, rank, some):
        real(work, rank, some)
        raise Killed

    monkeypatch.setattr(module, "append", append)
    with pytest.raises(Killed):
        start(run, [videos], out)
    monkeypatch.setattr(module, "append", real)
    out = out.parent.rename(tmp_path / "here") / "out"  # and the folder is moved meanwhile
    assert start(run, [videos], out, "batch=2") == (9, 2)
    assert [one["id"] for one in records(out)] == [one["id"] for one in records(quiet)]


def test_a_file_that_was_replaced_shows_its_own_frames(run, videos, tmp_path):
    folder, out = tmp_path / "videos", tmp_path / "out"
    folder.mkdir()
    shutil.copy(videos / "clip0.mp4", folder / "a.mp4")
    start(run, [folder], out)
    first = (out / "frames/a.jpg").read_bytes()
    shutil.copy(videos / "clip2.mp4", folder / "a.mp4")
    start(run, [folder], out)
    (shown,) = re.findall(r'src="(frames/[^"]*)"', (out / "index.html").read_text())
    assert (out / shown).read_bytes() != first


def test_names_with_spaces_around_them_are_not_lost(run, videos, tmp_path):
    folder = tmp_path / "videos"
    (folder / " x ").mkdir(parents=True)
    shutil.copy(videos / "clip0.mp4", folder / " lead.mp4")
    shutil.copy(videos / "clip2.mp4", folder / " x " / "b.mp4")
    assert start(run, [folder], tmp_path / "out") == (2, 0)
    assert [one["id"] for one in records(tmp_path / "out")] == ["lead.mp4", "x/b.mp4"]


def test_names_that_are_not_utf8(run, videos, tmp_path):
    folder = tmp_path / "videos"
    folder.mkdir()
    shutil.copy(videos / "clip0.mp4", os.fsencode(folder) + b"/good\xff.mp4")
    Path(os.fsdecode(os.fsencode(folder) + b"/bad\xfe.mp4")).write_bytes(b"no")
    assert start(run, [folder], tmp_path / "out") == (2, 1)
    bad, good = records(tmp_path / "out")
    assert good["id"] == "good?.mp4" and Path(good["video"]).is_file() and good["windows"] == 1
    assert "bad?.mp4" in bad["error"] and bad["reason"] == "unreadable"
    assert "good%FF.mp4" in (tmp_path / "out/index.html").read_text()
    assert pq.read_table(tmp_path / "out/descriptions.parquet")["id"][1].as_py() == "good?.mp4"


def test_formats_are_chosen(run, videos, tmp_path):
    start(run, [videos / "clip0.mp4"], tmp_path / "o", "format=vtt,json")
    assert set(results(tmp_path / "o")) == {"descriptions.jsonl", "videos/clip0.vtt"}


def test_a_folder_of_something_else_or_of_another_model_is_refused(run, videos, quiet, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="is not empty and holds no descriptions"):
        start(run, [videos], tmp_path)
    with pytest.raises(UserError, match=r"made otherwise \(prompt differs\)"):
        start(run, [videos], quiet, "prompt=Who?")
    out = tmp_path / "copy"
    shutil.copytree(quiet, out)
    assert start(run, [videos / "clip0.mp4"], out, "prompt=Who?", "overwrite=true") == (1, 0)
    assert not (out / "videos/film.srt").exists()


def test_a_prompt_that_does_not_fit_is_an_error_of_its_video(run, videos, tmp_path):
    rows = [
        {"video": str(videos / "clip0.mp4"), "prompt": "word " * 9000},
        {"video": str(videos / "clip2.mp4")},
    ]
    (tmp_path / "l.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert start(run, [tmp_path / "l.jsonl"], tmp_path / "out") == (2, 1)
    first, second = records(tmp_path / "out")
    assert first["reason"] == "no answer" and "tokens" in first["error"] and "error" not in second


@pytest.mark.slow
def test_the_command_says_how_it_went(run, videos, tmp_path):
    argv = [f"adapter={run}", "max_new_tokens=5", "workers=1", f"out={tmp_path / 'o'}"]
    done = call_command(
        "scripts/describe.py", str(videos / "clip0.mp4"), str(videos / "bad.mp4"), *argv
    )
    assert done.returncode == 1 and "1 of 2 videos described" in done.stdout + done.stderr
    only_bad = call_command("scripts/describe.py", str(videos / "bad.mp4"), *argv)
    assert only_bad.returncode == 2
    said = call_command(
        "scripts/describe.py",
        str(videos / "clip0.mp4"),
        f"adapter={run}",
        "max_new_tokens=5",
        "format=srt",
    )
    assert said.stdout.startswith("1\n00:00:00,000 --> ")
    refused = call_command("scripts/describe.py", "v.mp4", f"adapter={run}", "format=html")
    assert refused.returncode == 2 and "format=html: without out" in refused.stderr
    refused = call_command("scripts/describe.py", "v.mp4", f"adapter={run}", "workers=2")
    assert refused.returncode == 2 and "workers: only with out=FOLDER" in refused.stderr


@pytest.mark.slow
def test_without_an_adapter_a_checkpoint_describes_as_it_is(tiny_folder, videos):
    said = call_command(
        "scripts/describe.py", str(videos / "clip0.mp4"), f"model.name={tiny_folder}", "format=json",
        "max_new_tokens=5", "frames.max=2",
    )  # fmt: skip
    assert json.loads(said.stdout)["policy"]["max"] == 2 and "without fine-tuning" in said.stderr


# --- a server ----------------------------------------------------------------------------------


def test_a_server_is_asked_in_the_words_of_training(run, videos, tmp_path, processor):
    """The text parts are, byte for byte, the text of the prompt that training and `describe` use."""
    saved = read_run(run)
    clips = [videos / "clip0.mp4", videos / "film.mp4"]
    with judging() as server:
        server.says = lambda body: "[00:00 - 00:01] a thing."
        assert start(run, clips, tmp_path / "o", f"server={server.url}") == (2, 0)
    sent = [
        "".join(part["text"] for part in body["messages"][-1]["content"] if part["type"] == "text")
        for body in server.asked
    ]
    tokenizer = processor.tokenizer
    names = (processor.image_token, processor.fake_image_token, processor.global_image_token)
    pictures = {tokenizer.convert_tokens_to_ids(name) for name in names}
    prompts = []
    for clip in clips:
        for row in rows_of(str(clip), saved.frames):
            ids = generation_prompt(row, processor, saved.data)["input_ids"]
            prompts.append(tokenizer.decode([i for i in ids if i not in pictures]))
    assert len(sent) == len(prompts) > 3
    around = sorted(
        prompt.split(text) for prompt, text in zip(sorted(prompts), sorted(sent), strict=True)
    )
    assert around == [["<|im_start|>User: ", "<end_of_utterance>\nAssistant:"]] * len(sent)
    film = next(one for one in records(tmp_path / "o") if one["id"] == "film.mp4")
    assert film["events"] and film["windows"] >= 3


@pytest.mark.slow
def test_a_server_that_repeats_itself_refuses_or_is_gone(run, videos, tmp_path):
    line = "a dog runs on the grass. "
    with judging() as server:
        server.says = lambda body: line * (1 if body.get("frequency_penalty") else 4)
        start(run, [videos / "clip0.mp4"], tmp_path / "o", f"server={server.url}")
        (told,) = records(tmp_path / "o")
        assert told["looped"] and told["text"] == line.strip()
        server.status = 400
        assert start(run, [videos / "clip2.mp4"], tmp_path / "p", f"server={server.url}") == (1, 1)
        (told,) = records(tmp_path / "p")
        assert "answers 400" in told["error"]
        server.status = 503  # it may pass: nothing is stored, and the same command goes on
        with pytest.raises(UserError, match=r"503.*the same command continues"):
            start(run, [videos / "clip4.mp4"], tmp_path / "r", f"server={server.url}")
        server.status = 200
        assert start(run, [videos / "clip4.mp4"], tmp_path / "r", f"server={server.url}") == (1, 0)
        server.serves = ["a", "b"]
        with pytest.raises(UserError, match="serves a, b; serve lora alone"):
            start(run, [videos / "clip0.mp4"], tmp_path / "q", f"server={server.url}")


# --- subtitles and names -----------------------------------------------------------------------

TEXTS = st.text(st.characters(blacklist_categories=("Cs", "Cc")), min_size=1, max_size=30)


@given(
    st.lists(st.tuples(st.integers(0, 50), st.integers(1, 9), TEXTS), max_size=5),
    st.sampled_from(["srt", "vtt"]),
)
def test_cues_have_times_that_go_forward_and_no_empty_line(found, kind):
    events = [{"start_s": a / 4, "end_s": (a + n) / 4, "text": t} for a, n, t in found]
    record = {"events": events, "text": "all", "duration_s": 20.0}
    said = (srt if kind == "srt" else vtt)(record)
    arrows = [line for line in said.splitlines() if " --> " in line]
    spoken = [e for e in events if e["text"].strip()]
    assert len(arrows) == (len(spoken) if events else 1)
    for line in arrows:
        start_time, end_time = line.split(" --> ")
        assert start_time < end_time


@pytest.mark.parametrize("kind", ["srt", "vtt"])
def test_ffmpeg_reads_our_subtitles(tmp_path, kind):
    events = [
        {"start_s": 0.25, "end_s": 3.0, "text": "a <b> & a dog --> runs\n\nfast."},
        {"start_s": 3661.5, "end_s": 3700.0, "text": "späte Szene 影片"},
    ]
    file = tmp_path / f"a.{kind}"
    file.write_text(
        (srt if kind == "srt" else vtt)({"events": events, "text": "", "duration_s": 1})
    )
    with av.open(str(file)) as container:
        cues = [p for p in container.demux(subtitles=0) if p.size]
        starts = [float(p.pts * p.time_base) for p in cues]
        texts = [bytes(p).decode() for p in cues]
    assert starts == [0.25, 3661.5] and texts[1] == "späte Szene 影片"
    assert "→" in texts[0] and texts[0].endswith("fast.")


@given(
    st.lists(
        st.sampled_from(
            ["a.mp4", "a.mkv", "A.mp4", "a", "b/a.mp4", "a.mkv.mp4", "ä" * 200 + ".mp4"]
        ),
        unique=True,
    )
)
def test_no_two_videos_share_their_files(ids):
    names = names_of(Listed(one, one) for one in ids)
    assert len({name.casefold() for name in names.values()}) == len(ids)
    assert all(len(os.fsencode(part)) < 200 for name in names.values() for part in name.split("/"))
