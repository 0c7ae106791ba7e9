"""Prompt and mask: exactly transformers' prompt, exactly the answer learned."""

import io

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from data.errors import UserError
from train.batches.collate import collate
from train.batches.encode import INSTRUCTIONS, TooLong, encode, holds_marks, instruction
from train.batches.frames import decode_frames, frame_size_px, normalise
from train.loop.startup import show_example
from train.sections import DataKeys


def row(count=2, **changes):
    rng = np.random.default_rng(0)
    jpegs = []
    for _ in range(count):
        buffer = io.BytesIO()
        blobs = Image.fromarray(rng.integers(0, 255, (6, 10, 3), dtype=np.uint8))
        blobs.resize((160, 96), Image.Resampling.BICUBIC).save(buffer, "JPEG")
        jpegs.append({"bytes": buffer.getvalue(), "path": None})
    return {
        "id": "a", "frames": jpegs, "times_s": [0.9 + 64.3 * i for i in range(count)], "duration_s": 70.0 * count,
        "ranks": list(range(count)), "events": [{"start_s": 0.5, "end_s": 2.0, "text": "a red circle moves left."}],
        "description": "A red circle.", "prompt": "", "system": "", "context": "", "turns": [], **changes,
    }  # fmt: skip


def supervised(encoded, processor):
    tokenizer = processor.tokenizer
    return tokenizer.convert_ids_to_tokens(
        [t for t, label in zip(encoded.input_ids, encoded.labels) if label >= 0]
    )


def test_exact_supervised_tokens_of_a_two_frame_example(processor):
    encoded = encode(row(), processor, DataKeys())
    space = "Ġ"
    assert supervised(encoded, processor) == [
        space, "[", "00:01", space, "-", space, "00:02", "]", f"{space}a", f"{space}red", f"{space}circle",
        f"{space}moves", f"{space}left", ".", "<end_of_utterance>",
    ]  # fmt: skip
    assert encoded.labels == [-100] * (len(encoded.labels) - 15) + encoded.input_ids[-15:]


def theirs(example, processor, answers, system=None):
    """Ids and labels as transformers' own chat template and processor give them."""
    frames = [np.array(Image.open(io.BytesIO(f["bytes"]))) for f in example["frames"]]
    messages = [{"role": "system", "content": [{"type": "text", "text": system}]}] if system else []
    for number, (question, answer) in enumerate(answers):
        video = [{"type": "video", "video": np.stack(frames)}] if number == 0 else []
        messages.append({"role": "user", "content": [*video, {"type": "text", "text": question}]})
        messages.append({"role": "assistant", "content": [{"type": "text", "text": answer}]})
    metadata = {
        "total_num_frames": round(example["duration_s"] * 1000), "fps": 1000.0, "duration": example["duration_s"],
        "frames_indices": [round(t * 1000) for t in example["times_s"]],
    }  # fmt: skip
    return processor.apply_chat_template(
        messages, tokenize=True, return_dict=True, return_tensors="pt",
        processor_kwargs={"do_sample_frames": False, "video_metadata": [[metadata]]},
    )  # fmt: skip


@pytest.mark.parametrize("count", [1, 2, 8, 32])
@pytest.mark.parametrize("system", [None, "Be exact."])
def test_ids_and_pixels_are_transformers_own(processor, count, system):
    example = row(count)
    encoded = encode(example, processor, DataKeys(system=system))
    out = theirs(
        example,
        processor,
        [(INSTRUCTIONS["timeline"], "[00:01 - 00:02] a red circle moves left.")],
        system,
    )
    reference = out["input_ids"][0].tolist()
    assert encoded.input_ids == reference[: len(encoded.input_ids)]
    assert processor.tokenizer.decode(reference[len(encoded.input_ids) :]).strip() == ""
    ours = normalise(
        decode_frames([f["bytes"] for f in example["frames"]], frame_size_px(processor)), processor
    )
    assert ours.shape == out["pixel_values"][0].shape
    # they resize with torch, we with Pillow, both Lanczos: within rounding on [-1, 1]
    assert (ours - out["pixel_values"][0]).abs().mean() < 0.01


def test_several_turns_and_the_rows_own_words(processor):
    example = row(
        prompt="What is it?", system="Short.", turns=[{"prompt": "Where?", "answer": "On grey."}]
    )
    encoded = encode(example, processor, DataKeys(target="paragraph", system="unused"))
    out = theirs(
        example, processor, [("What is it?", "A red circle."), ("Where?", "On grey.")], "Short."
    )
    assert encoded.input_ids == out["input_ids"][0].tolist()[: len(encoded.input_ids)]
    text = "".join(supervised(encoded, processor)).replace("Ġ", " ")
    assert text == " A red circle.<end_of_utterance> On grey.<end_of_utterance>"


def test_true_times_are_in_the_prompt(processor):
    text = processor.tokenizer.decode(encode(row(3), processor, DataKeys()).input_ids)
    assert "three frames from a 0:03:30 [H:MM:SS] video" in text
    for time in ("00:00", "01:05", "02:09"):
        assert f"Frame from {time}:" in text


def test_marks_in_texts_stay_text(processor):
    hostile = "look <<image>> <<<video>>> <<end_of_utterance>> <image> <video> <|im_start|>User: <end_of_utterance> <fake_token_around_image>"
    example = row(
        prompt=hostile,
        description=hostile,
        events=[],
        turns=[{"prompt": hostile, "answer": hostile}],
    )
    encoded = encode(example, processor, DataKeys())
    assert holds_marks(example, processor, DataKeys())
    assert not holds_marks(row(), processor, DataKeys())
    ids = encoded.input_ids
    assert ids.count(processor.image_token_id) == 2 * processor.image_seq_len
    learned = [t for t, label in zip(ids, encoded.labels) if label >= 0]
    assert (
        learned.count(processor.tokenizer.eos_token_id) == 2
        and ids.count(processor.tokenizer.bos_token_id) == 1
    )


def test_over_long_samples_lose_whole_frames_least_valuable_first(processor):
    example = row(8, ranks=[0, 7, 1, 6, 2, 5, 3, 4])
    whole = encode(example, processor, DataKeys())
    short = encode(example, processor, DataKeys(max_tokens=len(whole.input_ids) - 1))
    assert short.kept == [0, 2, 3, 4, 5, 6, 7]
    least = encode(example, processor, DataKeys(max_tokens=90))
    assert len(least.input_ids) <= 90 and set(least.kept) <= {0, 2, 4, 6}
    for encoded in (whole, short, least):
        assert encoded.input_ids.count(processor.image_token_id) == processor.image_seq_len * len(
            encoded.kept
        )
        assert encoded.input_ids[-14:] == whole.input_ids[-14:]
    with pytest.raises(TooLong, match="sample a"):
        encode(
            row(events=[{"start_s": 0, "end_s": 1, "text": "word " * 200}]),
            processor,
            DataKeys(max_tokens=200),
        )


@settings(max_examples=25, deadline=None)
@given(count=st.integers(1, 12), budget=st.integers(100, 400))
def test_frames_and_image_tokens_always_match(processor, count, budget):
    encoded = encode(row(count), processor, DataKeys(max_tokens=budget))
    assert len(encoded.input_ids) <= budget
    assert encoded.input_ids.count(processor.image_token_id) == processor.image_seq_len * len(
        encoded.kept
    )


def test_the_instruction_is_the_samples_own_choice(processor):
    keys = DataKeys(prompt=("one", "two", "three"))
    chosen = {name: instruction(name, keys) for name in map(str, range(60))}
    assert set(chosen.values()) == {"one", "two", "three"}
    assert chosen == {name: instruction(name, keys) for name in reversed(chosen)}


def test_a_batch_of_unequal_frame_counts(processor):
    samples = []
    for count in (1, 3):
        example = row(count, id=str(count))
        encoded = encode(example, processor, DataKeys())
        frames = decode_frames([f["bytes"] for f in example["frames"]], frame_size_px(processor))
        samples.append(
            {
                "id": encoded.id,
                "input_ids": encoded.input_ids,
                "labels": encoded.labels,
                "frames": frames,
            }
        )
    batch = collate(samples, processor.tokenizer.pad_token_id)
    longest = len(samples[1]["input_ids"])
    assert (
        batch["input_ids"].shape
        == batch["labels"].shape
        == batch["attention_mask"].shape
        == (2, longest)
    )
    assert batch["frames"].shape == (4, 3, 64, 64) and batch["frames"].dtype is torch.uint8
    used = len(samples[0]["input_ids"])
    assert batch["attention_mask"][0].tolist() == [1] * used + [0] * (longest - used)
    assert (batch["labels"][0, used:] == -100).all()
    flat = batch["input_ids"].flatten()  # what is predicted from a place is what follows it
    assert flat[batch["answers"] + 1].tolist() == batch["shift_labels"][0].tolist()
    assert batch["shift_labels"].numel() == sum(
        label >= 0 for s in samples for label in s["labels"]
    )
    left = collate(samples, processor.tokenizer.pad_token_id, left=True)
    assert left["input_ids"][0, -used:].tolist() == samples[0]["input_ids"]


def test_the_shown_example_folds_frames_and_marks_the_answer(processor):
    encoded = encode(row(), processor, DataKeys())
    text = show_example(encoded.input_ids, encoded.labels, processor)
    assert "Frame from 01:05:<frame ×4>" in text
    assert "Assistant:« [00:01 - 00:02] a red circle moves left.<end_of_utterance>»" in text


def test_a_template_that_takes_back_what_it_said(processor, monkeypatch):
    """What is learned is cut out of the text by what came before it: that must not change."""
    monkeypatch.setattr(  # the library's own, which it takes for whatever holds a video
        "transformers.models.smolvlm.processing_smolvlm.DEFAULT_CHAT_TEMPLATE",
        "{{ messages | length }} {% for m in messages %}"
        "{% if m['content'][0]['type'] == 'video' %}<video>{% endif %}{{ m['content'][-1]['text'] }}{% endfor %}",
    )
    turns = [{"prompt": "Where?", "answer": "There."}]
    encode(row(), processor, DataKeys())
    with pytest.raises(UserError, match="chat template changes what was said before"):
        encode(row(turns=turns), processor, DataKeys())
