"""Subtitles beside videos and inside them become context; a malformed one never costs a video."""

import json

import av
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.offline.config import PrepareConfig
from data.offline.prepare import prepare
from data.prepared.dataset import Prepared
from data.selection.config import FrameKeys
from data.sources import microworld
from data.sources.config import SourceKeys
from data.target import parse_timeline, speech_context
from data.video.subtitles import BadSubtitles, subtitles
from data.window import as_seen
from tests.helpers.videos import every, write_video
from train.batches.shown import shown
from train.inference.generate import generation_prompt
from train.inference.rows import rows_of
from train.sections import DataKeys

SRT = "1\n00:00:01,000 --> 00:00:03,500\n<i>Hello</i> & you\nsecond line\n\n2\n00:00:04,000 --> 00:00:05,000\n{\\an8}Bye\n"
VTT = "WEBVTT\n\n00:01.000 --> 00:03.500 align:start\nHello<00:00:01.500><c> you</c>\n\n00:04.000 --> 00:05.000\n<v Bob>Bye &amp; bye\n"
ASS = (
    "[Script Info]\nScriptType: v4.00+\n\n[V4+ Styles]\nFormat: Name, Fontname\nStyle: Default,Arial\n\n[Events]\n"
    "Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text\n"
    "Dialogue: 0,0:00:01.00,0:00:03.50,Default,,0,0,0,,{\\pos(1,2)}Hello, you\\Nsecond\n"
)


def said(path):
    return [(cue.start_s, cue.end_s, cue.text) for cue in subtitles(str(path))]


def with_stream(path, cues, codec="mov_text", start_s=0.0):
    """A video that has a subtitle stream."""
    plain = write_video(path.with_name(f"plain-{path.name}"), every(0.1, 60))
    with av.open(str(plain)) as source, av.open(str(path), "w") as out:
        video = out.add_stream_from_template(source.streams.video[0])
        file = path.with_suffix(".tmp.srt")
        file.write_text(
            "".join(
                f"{i}\n00:00:0{a},000 --> 00:00:0{b},000\n{t}\n\n"
                for i, (a, b, t) in enumerate(cues, 1)
            )
        )
        with av.open(str(file)) as texts:
            stream = (
                out.add_stream_from_template(texts.streams.subtitles[0]) if codec == "srt" else None
            )
            packets = [p for p in source.demux(video=0) if p.dts is not None]
            for packet in packets:
                packet.stream = video
                out.mux(packet)
            for packet in texts.demux(subtitles=0):
                if packet.size and stream is not None:
                    packet.stream = stream
                    out.mux(packet)
        file.unlink()
    plain.unlink()
    return path


@pytest.mark.parametrize(
    ("name", "text", "cues"),
    [
        ("a.srt", SRT, [(1.0, 3.5, "Hello & you second line"), (4.0, 5.0, "Bye")]),
        ("a.vtt", VTT, [(1.0, 3.5, "Hello you"), (4.0, 5.0, "Bye & bye")]),
        ("a.ass", ASS, [(1.0, 3.5, "Hello, you second")]),
        ("a.de.SRT", SRT, [(1.0, 3.5, "Hello & you second line"), (4.0, 5.0, "Bye")]),
    ],
)
def test_a_file_beside_the_video_is_read(tmp_path, name, text, cues):
    (tmp_path / name).write_text(text)
    assert said(tmp_path / "a.mp4") == cues
    assert said(write_video(tmp_path / "ab.mp4", every(0.1, 5))) == []  # another video's


def test_the_plain_name_comes_before_a_language_and_the_file_before_the_stream(tmp_path):
    video = with_stream(tmp_path / "a.mkv", [(1, 2, "inside"), (3, 4, "again")], codec="srt")
    # the file's own start is its first moment
    assert [text for _, _, text in said(video)] == ["inside", "again"]
    assert [start_s for start_s, _, _ in said(video)] == pytest.approx([1.0, 3.0], abs=0.11)
    (tmp_path / "a.en.vtt").write_text(VTT.replace("Hello", "English"))
    assert said(video)[0][2] == "English you"
    (tmp_path / "a.srt").write_text(SRT)
    assert said(video)[0][2] == "Hello & you second line"


def test_another_videos_subtitles_are_not_taken(tmp_path):
    for name in ("lecture.2.srt", "lecture.part.srt", "lecture2.srt"):
        (tmp_path / name).write_text(SRT)
    assert said(write_video(tmp_path / "lecture.mp4", every(0.1, 5))) == []
    assert said(tmp_path / "lecture.2.mp4") and said(tmp_path / "lecture2.mp4")
    (tmp_path / "lecture.pt-BR.srt").write_text(SRT)
    assert said(tmp_path / "lecture.mp4")


def test_captions_that_roll_up_say_each_line_once(tmp_path):
    rolling = ["one two", "one two\nthree four", "three four\nfive six", "five six"]
    cues = [f"00:0{i}.000 --> 00:0{i + 1}.000\n{text}\n" for i, text in enumerate(rolling)]
    (tmp_path / "a.vtt").write_text("WEBVTT\n\n" + "\n".join(cues))
    assert [text for _, _, text in said(tmp_path / "a.mp4")] == [
        "one two",
        "three four",
        "five six",
    ]


def test_other_encodings(tmp_path):
    for encoding in ("utf-8-sig", "utf-16", "cp1252"):
        (tmp_path / "a.srt").write_bytes(
            SRT.replace("Hello", "Grüße, schöne Straße").encode(encoding)
        )
        assert said(tmp_path / "a.mp4")[0][2].startswith("Gr"), encoding


@pytest.mark.parametrize(
    "content",
    [
        b"no subtitles at all, only words\n" * 9,
        b"\x00\xff\xfe\x81" * 50,
        b"1\n00:00:01,000 -> nonsense\nx\n",
    ],
)
def test_a_malformed_one_is_a_note_and_never_a_lost_video(tmp_path, content):
    write_video(tmp_path / "a.mp4", every(0.1, 30))
    (tmp_path / "a.srt").write_bytes(content)
    with pytest.raises(BadSubtitles):
        subtitles(str(tmp_path / "a.mp4"))
    (tmp_path / "rows.jsonl").write_text(json.dumps({"video": "a.mp4", "description": "A."}))
    manifest = prepared(tmp_path, speech_context=True)
    assert manifest["rows"] == 1
    assert manifest["repairs"] == {"subtitles that cannot be read, left out": 1}
    rows = list(rows_of(str(tmp_path / "a.mp4"), FrameKeys(max=2, px=48), speech=True))
    assert rows[0]["context"] == ""


@settings(max_examples=30)
@given(st.binary(max_size=200))
def test_any_bytes_are_cues_or_refused(tmp_path_factory, content):
    folder = tmp_path_factory.mktemp("any")
    (folder / "a.srt").write_bytes(content)
    try:
        for cue in subtitles(str(folder / "a.mp4")):
            assert 0 <= cue.start_s < cue.end_s and cue.text
    except BadSubtitles:
        pass


def prepared(folder, **keys):
    return prepare(
        PrepareConfig(
            source=SourceKeys(name="jsonl", path=str(folder / "rows.jsonl"), **keys),
            frames=FrameKeys(max=2, px=48, window_s=30), out=str(folder / "o"), workers=1,
        )
    )  # fmt: skip


def test_training_and_describing_ask_in_the_same_words(tmp_path, processor):
    """A film's windows are each given what is said in them, from the row's own context on."""
    film = microworld.render(1, 0, tmp_path, (80.0, 90.0))
    cues = [
        f"{i}\n00:{i // 2:02d}:{i % 2 * 30:02d},000 --> 00:{i // 2:02d}:{i % 2 * 30 + 5:02d},500\nwords {i}\n"
        for i in range(3)
    ]
    film.with_suffix(".srt").write_text("\n".join(cues))
    row = {"video": film.name, "context": "My film.", "events": [[1, 60, "It goes on."]]}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row))
    prepared(tmp_path, speech_context=True)
    learned = list(Prepared.open(tmp_path / "o").rows())
    described = list(
        rows_of(str(film), FrameKeys(max=2, px=48, window_s=30), context="My film.", speech=True)
    )
    assert len(learned) == len(described) >= 3
    texts = []
    for one, other in zip(learned, described, strict=True):
        seen = [generation_prompt(r, processor, DataKeys())["input_ids"] for r in (one, other)]
        assert seen[0] == seen[1]
        texts.append(as_seen(one, "own")["context"])
    assert all(text.startswith("My film.") for text in texts)
    for i in range(3):
        assert sum(f"words {i}" in text for text in texts) in (1, 2)
    assert "words 0" in texts[0] and "words 0" not in texts[-1]


def test_context_is_bounded_by_tokens_and_what_is_cut_is_counted(processor):
    words = speech_context((float(i), i + 1.0, f"this is line {i}") for i in range(200))
    row = {
        "id": "v", "frames": [], "times_s": [0.0], "duration_s": 300.0, "ranks": [0], "prompt": "", "system": "",
        "context": words,
    }  # fmt: skip
    keys = DataKeys(context_tokens=100)
    seen, left_out = shown(row, processor, keys)
    count = len(processor.tokenizer(seen["context"], add_special_tokens=False)["input_ids"])
    assert 60 < count <= 100 and words.startswith(seen["context"] + "\n")
    assert left_out == 201 - len(seen["context"].split("\n"))
    assert shown(row, processor, DataKeys(context_tokens=8192)) == (row, 0)
    long = {**row, "context": "word " * 900}
    assert 15 <= len(shown(long, processor, keys)[0]["context"].split()) <= 100
    assert shown(row, processor, DataKeys(context_tokens=0))[0]["context"] == ""


@given(st.lists(st.tuples(st.floats(0, 900), st.floats(0.01, 5)), max_size=6))
def test_every_line_of_speech_has_a_length(spans):
    text = speech_context((a, a + n, "words") for a, n in spans)
    events, bad = parse_timeline("\n".join(text.split("\n")[1:]))
    assert len(events) == len(spans) and bad == 0
