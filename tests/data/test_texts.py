"""What sources make of texts: whole sentences, names as they are, pictures and no speech, any script."""

import json
import re
import subprocess
import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from data.errors import UserError
from data.media import VideoFile
from data.sample import Rejected, Sample
from data.sources import activitynet, finevideo, jsonl, videofeedback
from data.sources.config import SourceKeys
from data.sources.finevideo_events import mood_of, props_of, seen, title_of
from data.sources.parse import clock_s, single_line, time_s
from data.sources.sentences import balanced, capital, ended, sentences
from data.sources.speech import without_speech
from tests.helpers.finevideo_notes import rows

# --- FineVideo's notes -----------------------------------------------------------------------


def of(row, **keys):
    return finevideo.sample_of(
        row, SourceKeys(name="finevideo", **keys), VideoFile("v.mp4"), "here"
    )


@pytest.mark.parametrize("level", ["scene", "activity"])
def test_thirty_rows_read_as_a_person_would_write_them(level):
    """Every name as it stood, every sentence whole, no number for a title, nothing said."""
    for row in rows():
        sample = of(row, level=level)
        assert isinstance(sample, Sample)
        source = json.dumps(row, ensure_ascii=False).replace('\\"', '"')
        for text in [*(e.text for e in sample.events), sample.description]:
            assert balanced(text) and not re.search(
                r"\bscene \d|\bPart \d|N/A|There (is|are)\b", text
            )
            assert not re.search(r'[.!?]["”»)]?\.', text.replace("Dr. A.", "")), text
            assert not re.search(
                r"\b(explain|say|mention|emphasize|highlight|invite|thank|stress|praise)\w*\b", text
            )
            for word in re.findall(r"[\w'-]+", text):  # only the first letter of a sentence changes
                assert (
                    word in source
                    or word[:1].lower() + word[1:] in source
                    or word in ("Seen", "Mood")
                ), word
        assert all(len(e.text.split()) >= 4 or "Seen:" in e.text for e in sample.events)
        assert "analysis" not in sample.description and "metadata" not in sample.description


def test_props_keep_their_names_and_need_no_grammar():
    scene = {
        "props": [
            {"name": n}
            for n in ("NASA logo", "Microphones", "wWE belt", "N/A", "Cup (broken", "Cup.")
        ]
    }
    assert props_of(scene, "He lifts a cup.") == "Seen: NASA logo, Microphones, wWE belt."
    assert props_of({"props": [{"name": "Queen Elizabeth"}]}, "") == "Seen: Queen Elizabeth."
    assert props_of({"props": []}, "") == ""


@pytest.mark.parametrize(
    ("told", "mood"),
    [
        ("Excited (crowd cheers, loud)", "Mood: Excited."), ("Proud - the video ends well", "Mood: Proud."),
        ("Happy. Bright light.", "Mood: Happy."), ("Sad, as people have lost", "Mood: Sad."), ("Amazed!", "Mood: Amazed."),
        ("Energetic, cheerful", "Mood: Energetic, cheerful."), ("Neutral; informative", ""), ("N/A", ""), ("", ""),
        ("The whole scene makes one think of home", ""), ("Tense (close to tears", "Mood: Tense."),
    ],
)  # fmt: skip
def test_a_mood_is_its_first_words(told, mood):
    assert mood_of({"mood": {"description": told}}) == mood == mood_of({"mood": told})


@pytest.mark.parametrize(
    ("title", "kept"),
    [
        ("Scene 1", ""), ("scene three", ""), ("Scene IV:", ""), ("Part 2 of 3", ""), ("Chapter 2: The Dough", "The Dough"),
        ("Scene 1 - Welcome Home", "Welcome Home"), ("1. Measuring", "Measuring"), ("Introduction", ""), ("Final Scene", ""),
        ("Untitled", ""), ("Interview with the Mayor", ""), ("Clip Art Fair", "Clip Art Fair"), ("Part of Your World", "Part of Your World"),
        ("Scene Stealers", "Scene Stealers"), ("1989", "1989"), ("N/A", ""), ("What is a Share?", ""), (None, ""),
    ],
)  # fmt: skip
def test_titles_tell_more_than_their_place(title, kept):
    assert title_of({"title": title}, speech=False) == kept


@pytest.mark.parametrize(
    "text",
    [
        "A detailed scene-by-scene analysis of a film about bees.", "This video provides a summary of a day in Tokyo.",
        "The metadata describes a fishing trip.", "An analysis of a football match.", "Comprehensive overview of the video.",
        "A structured breakdown of events with timestamps.",
    ],
)  # fmt: skip
def test_sentences_about_the_notes_go(text):
    assert seen([text, "A man reads the analysis of a blood sample."], {"about the annotation": 0}, speech=False) == [
        "A man reads the analysis of a blood sample."
    ]  # fmt: skip


SPOKEN = [
    "The captain urges his team to keep calm",
    "The vlogger elaborates on her skincare routine",
    "The mayor delivers a speech to the crowd",
    "The teacher clarifies a misunderstanding",
    "He states that the engine is broken",
    "The chef shares a story from his childhood",
    "The speaker addresses the audience",
    "An expert gives an overview of the market",
    "The pilot announces the landing",
    "She jokes about her cat",
    "The presenter points out three mistakes",
    "The hosts debate which team is better",
    "Coach reiterates the need for discipline",
    "He recalls meeting his wife",
    "A woman expresses concern about the prices",
    "The reviewer praises the camera",
    "The man complains about the noise",
    "The narrator tells the story of the castle",
    "They converse in Spanish",
    "The doctor advises patients to rest",
    "The host introduces the next guest",
    "The player is asked about his injury",
    "The minister denies the claims",
    "He argues with the referee",
    "The reporter stresses that roads are closed",
    "She thanks her sponsors",
    "The host concludes the discussion",
    "A voice-over describes the habitat of the owl",
    "The streamer reacts to comments and answers questions",
    "The coach emphasizes teamwork",
    "The anchor highlights the damage",
    "The host invites viewers to subscribe",
    '"We did it!"',
    "What is a share?",
]
SHOWN = [
    "The speaker walks to the podium",
    "A man answers the phone",
    "Sticky notes hang on the wall",
    "Players of the United States line up",
    "Details of the dress are visible",
    "A spotlight highlights the singer on stage",
    "The highlights of the match are shown",
    "The golfer addresses the ball",
    "A news report plays on a screen",
    "Two men share a pizza",
    "The lake reflects the mountains",
    "A talk show stage with red curtains",
    "The comment section is displayed",
    "The anchor sits at the desk",
    "A girl writes a note and folds it",
    "He presents a trophy to the winner",
    "The chef demonstrates how to fold the dough",
    "A man points at the map",
    "The crowd shouts and waves flags",
    "Workers stress-test a steel beam",
    "The state flag waves in the wind",
    "A woman welcomes her son at the airport with a hug",
    "The phone speaker lies on the table",
    "She gives the boy a ball",
    "The boat touches the pier",
    "A bride reads a letter",
    "The officer reports to the gate",
]


def test_what_is_said_goes_and_what_is_shown_stays():
    assert [t for t in SPOKEN if without_speech(t)] == []
    assert [t for t in SHOWN if without_speech(t) != t] == []


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("Lena slices a tomato while explaining each step.", "Lena slices a tomato"),
        ("Lena greets the camera, explains the plan, and walks away", "Lena greets the camera"),
        ("He holds a book and pen as he speaks", "He holds a book and pen"),
        (
            "She mixes blue and white, and then briefly describes the tone",
            "She mixes blue and white",
        ),
        (
            "A red car overtakes two others, and the player comments on the grip",
            "A red car overtakes two others",
        ),
        ("The coach in a red jacket and the players in blue talk about it", ""),
    ],
)
def test_a_clause_of_speech_at_the_end_is_cut_where_the_rest_is_whole(text, kept):
    assert without_speech(text) == kept


def test_a_sentence_that_can_be_seen_stays_when_its_neighbour_is_spoken():
    row = rows()[0]
    row["content_metadata"]["scenes"][0]["activities"][0]["description"] = (
        "Marta speaks. Steam rises from a pot."
    )
    sample = of(row, level="activity")
    assert sample.events[0].text == "Steam rises from a pot."
    assert {"speech left out": 3}.items() <= {r.what: r.count for r in sample.repairs}.items()
    assert "Marta speaks." in of(row, level="activity", speech="keep").events[0].text


@pytest.mark.parametrize("big", ["(a. " * 200_000, "he says hi. " * 50_000, "a, and b " * 100_000])
def test_a_book_for_a_note_takes_no_time(big):
    row = rows()[0]
    scene = row["content_metadata"]["scenes"][0]
    row["content_metadata"]["description"] = scene["title"] = big
    scene["activities"][0]["description"], scene["props"] = big, [{"name": big}]
    assert len(of(row).description) < 50_000


# --- sentences -------------------------------------------------------------------------------


def test_sentences_are_cut_where_they_end():
    told = 'The band records "Dangerous." Dr. A. Smith (tall. bald) waves at 3.5 m, etc. Then he - runs; '
    assert list(sentences(told)) == [
        'The band records "Dangerous."', "Dr. A. Smith (tall. bald) waves at 3.5 m, etc.", "Then he - runs",
    ]  # fmt: skip
    assert list(sentences("他跑步！她笑。")) == ["他跑步！", "她笑。"]
    assert list(sentences("2. A dog - ")) == ["A dog"] and list(sentences("...")) == []


@given(st.text(max_size=80))
@example('".')
def test_sentences_lose_nothing_but_marks(text):
    text = single_line(text)
    joined = re.sub(r"[\W_\d]+", "", " ".join(sentences(text)))
    assert joined == re.sub(r"[\W_\d]+", "", text)
    for one in sentences(text):
        assert ended(ended(one)) == ended(one)
        assert ended(capital(one)).casefold().startswith(one.casefold())


def test_ends_and_capitals():
    assert [ended(t) for t in ('x "y."', "x (y)", "x…", "好。", "है।", "")] == [
        'x "y."',
        "x (y).",
        "x…",
        "好。",
        "है।",
        "",
    ]
    assert [capital(t) for t in ("a dog", "iPhone on a desk", "WWE belt", "über", "")] == [
        "A dog",
        "iPhone on a desk",
        "WWE belt",
        "Über",
        "",
    ]


# --- texts of the world ----------------------------------------------------------------------

JOINED = ["می‌دود", "ශ්‍රී", "a family 👨‍👩‍👧", "soft\u00adhyphen", "नहीं", "👩🏽‍🚀"]


@given(
    st.lists(st.sampled_from(JOINED), min_size=1),
    st.sampled_from(["\x00", "\x07", "\x1b", "\x9f", "\r\n"]),
)
def test_joiners_are_letters_and_controls_are_not(words, control):
    assert single_line(control.join(words)) == " ".join(words)


def test_joiners_come_through_every_source(tmp_path):
    text = " ".join(JOINED)
    (tmp_path / "a.mp4").write_bytes(b"")
    row = {"video": "a.mp4", "description": text, "events": [[0, 1, text]]}
    (tmp_path / "r.jsonl").write_text(json.dumps(row))
    (sample,) = jsonl.read(SourceKeys(name="jsonl", path=str(tmp_path / "r.jsonl")))
    assert sample.description == sample.events[0].text == text
    (tmp_path / "r.json").write_text(
        json.dumps({"a": {"duration": 9, "timestamps": [[0, 1]], "sentences": [text]}})
    )
    (sample,) = activitynet.read(SourceKeys(name="activitynet", path=str(tmp_path / "r.json")))
    assert sample.events[0].text == text
    fine = rows()[0]
    fine["content_metadata"]["scenes"][0]["activities"][0]["description"] = text
    assert text in of(fine).events[0].text
    link = f"https://huggingface.co/datasets/{videofeedback.VIDEOS}/resolve/main/p/p1.mp4"
    feedback = {"id": "p1", "text prompt": text, "video link": link}
    keys = SourceKeys(name="videofeedback")
    assert videofeedback.sample_of(feedback, keys, "here", None).description == text


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("01:05", 65.0), ("1:00:05", 3605.0), ("00:01:05,250", 65.25), ("3,5", 3.5), ("3.5", 3.5), (2, 2.0), ("-1", -1.0), (-3, -3.0), ("1e3", 1000.0), ("soon", None), (None, None), (True, None)],
)  # fmt: skip
def test_times_as_people_write_them(value, seconds):
    assert time_s(value) == seconds
    if seconds is not None and seconds >= 0 and value != "1e3":
        assert clock_s(value) == seconds


# --- rows of JSON Lines ----------------------------------------------------------------------


def lines(tmp_path, raw, **keys):
    file = tmp_path / "rows.jsonl"
    file.write_bytes(raw)
    return list(jsonl.read(SourceKeys(name="jsonl", path=str(file), **keys)))


ROWS = "\n".join(
    json.dumps(
        {"video": "a.mp4", "id": str(i), "description": f"Zeile {i} ü 好"}, ensure_ascii=False
    )
    for i in range(40)
)


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]
)
@pytest.mark.parametrize("seed", [None, 3])
def test_every_unicode_is_read_whole(tmp_path, encoding, seed):
    found = lines(tmp_path, ROWS.encode(encoding), shuffle_seed=seed)
    assert {s.description for s in found} == {f"Zeile {i} ü 好" for i in range(40)}
    assert ([s.id for s in found] == [str(i) for i in range(40)]) == (seed is None)
    assert jsonl.count(SourceKeys(name="jsonl", path=str(tmp_path / "rows.jsonl"))) == 40


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "gb18030"])
def test_what_is_no_unicode_is_refused_whole(tmp_path, encoding):
    text = ROWS.replace("好", "") if encoding != "gb18030" else ROWS
    with pytest.raises(UserError, match=r"rows\.jsonl: line 1 is no UTF-8.*iconv -f"):
        lines(tmp_path, text.encode(encoding))


def test_the_line_of_a_bad_byte_is_named(tmp_path):
    good = ROWS.encode().split(b"\n")
    with pytest.raises(UserError, match="line 30041 is no UTF-8"):
        lines(tmp_path, b"\n".join([*good * 751, good[0][:-3] + b"\xe9", *good]))


def test_events_are_mended_as_in_other_sources(tmp_path):
    events = [
        ["0:05", "1:05", "b"],
        [2, 2, "none"],
        ["1,5", "2,5", "a"],
        [None, 3, "x"],
        [9, 8, "back"],
        [0, 1, " "],
    ]
    (sample,) = lines(tmp_path, json.dumps({"video": "a.mp4", "events": events}).encode())
    assert [(e.start_s, e.end_s, e.text) for e in sample.events] == [
        (1.5, 2.5, "a"),
        (5.0, 65.0, "b"),
    ]
    assert {r.what: r.count for r in sample.repairs} == {
        "no length": 1, "time missing": 1, "ends before it starts": 1, "no text": 1, "out of order": 1,
    }  # fmt: skip
    (lost,) = lines(tmp_path, json.dumps({"video": "a.mp4", "events": [[2, 2, "x"]]}).encode())
    assert isinstance(lost, Rejected) and "no usable event (1 × no length)" in lost.detail


def chat(question, answer, video="a.mp4", **more):
    talk = [
        {"role": "user", "content": f"<video>{question}"},
        {"role": "assistant", "content": answer},
    ]
    return {"messages": talk, "videos": [video], **more}


def test_rows_of_one_video_without_ids_are_several_samples(tmp_path):
    given = [
        chat("What?", "A dog."),
        chat("Who?", "Max."),
        chat("Who?", "Max."),
        chat("What?", "A dog."),
        chat("x", "y", "b.mp4"),
        chat("x", "z", id="b"),
    ]
    raw = "\n".join(map(json.dumps, given)).encode()
    found = [s.id for s in lines(tmp_path, raw)]
    assert found[0] == "a" and re.fullmatch(r"a#[0-9a-f]{8}", found[1])
    assert found[2:4] == ["a", "a"], "the same row twice is one sample"
    assert found[4:] == ["b", "b"]
    from data.sources.catalog import read

    kept = [
        type(r).__name__
        for r in read([SourceKeys(name="jsonl", path=str(tmp_path / "rows.jsonl"))])
    ]
    assert kept == ["Sample", "Sample", "Rejected", "Rejected", "Sample", "Rejected"]


def test_no_tokenizer_is_loaded_to_refuse_a_key():
    """Sentences are cut by a library that only FineVideo's texts need."""
    code = "import data.offline.config, data.config, sys; sys.exit('sentencex' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_controls_go_from_texts_of_several_lines_too(tmp_path):
    raw = json.dumps(
        {"video": "a.mp4", "description": "one\x00\x1b two\r\nthree\u200c\tfour"}
    ).encode()
    assert lines(tmp_path, raw)[0].description == "one   two\nthree\u200c\tfour"
    (sample,) = lines(tmp_path, json.dumps(chat("What\x07?", "A\x7f dog\nruns \u200d.")).encode())
    assert (sample.prompt, sample.description) == ("What ?", "A  dog\nruns \u200d.")
