"""Answers that repeat themselves are stopped while they are generated, tried again and marked."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from data.prepared.dataset import Prepared
from train.inference import generate
from train.inference.generate import answer, generation_prompt
from train.inference.loops import StopLoops, repeated_from
from train.metrics.degeneration import loops
from train.model.load import load_model, pick_precision
from train.sections import DataKeys, ModelKeys

DOG = "a dog runs on the grass."


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (f"{DOG} {DOG} {DOG}", DOG),
        (f"{DOG} a cat sits down. {DOG} a bird sings now. {DOG}", f"{DOG} a cat sits down."),
        (f"[00:00 - 00:02] {DOG}\n" * 3, f"[00:00 - 00:02] {DOG}"),
        ("".join(f"[00:0{i} - 00:0{i + 1}] {DOG}\n" for i in range(3)), f"[00:00 - 00:01] {DOG}"),
        (
            "".join(f"[00:0{i}.5 - 00:0{i}.9] {DOG}\n" for i in range(3)),
            f"[00:00.5 - 00:00.9] {DOG}",
        ),
    ],
)
def test_a_sentence_said_three_times_is_a_loop(text, kept):
    place = repeated_from(text)
    assert place is not None and text[:place].strip() == kept
    assert repeated_from(text[: text.rindex(DOG)]) is None  # twice is not


def test_a_sentence_that_never_ends_is_a_loop():
    told = "a yellow triangle " + "moves up on a yellow triangle " * 9
    place = repeated_from(told)
    assert place is not None and told[:place] == "a yellow triangle moves up on "
    assert repeated_from("a yellow triangle " + "moves up on a yellow triangle " * 2) is None


def test_what_happens_again_later_may_be_told_again():
    told = "".join(
        f"[00:0{i} - 00:0{i + 1}] {DOG if i % 2 else 'a cat sits down.'}\n" for i in range(8)
    )
    assert repeated_from(told) is None
    assert repeated_from("Yes. Yes. Yes. Yes. ") is None  # no sentence of three words
    assert repeated_from(f"{DOG} {DOG} {DOG[:-1]}") is None  # not ended: it may go on otherwise


@given(
    st.lists(
        st.sampled_from(["a dog runs.", "the cat sits.", "it is dark.", "[00:01 - 00:02] "]),
        max_size=9,
    )
)
def test_what_is_left_out_repeats_what_is_kept(parts):
    text = " ".join(parts)
    place = repeated_from(text)
    if place is not None:
        assert loops(text) and repeated_from(text[:place]) is None


def test_an_evaluation_sees_loops_of_times_with_tenths():
    assert loops("".join(f"[00:0{i}.{i} - 00:0{i}.{9 - i}] {DOG}\n" for i in range(3)))


@pytest.fixture(scope="module")
def model(tiny_folder):
    return load_model(ModelKeys(name=str(tiny_folder)), "lora", pick_precision("fp32")).eval()


def test_generation_ends_with_the_loop_and_is_tried_again(model, processor, world, monkeypatch):
    rows = Prepared.open(world).rows()
    prompts = [generation_prompt(rows[i], processor, DataKeys()) for i in range(2)]
    tokenizer = processor.tokenizer
    line = tokenizer(f" {DOG}", add_special_tokens=False)["input_ids"]
    tries = []

    def recite(self, *, input_ids, logits_processor, stopping_criteria, max_new_tokens, **named):
        """The first video's answer goes round in circles, unless it is penalised."""
        tries.append((len(input_ids), len(logits_processor)))
        ids = input_ids
        for step in range(max_new_tokens):
            new = torch.full((len(ids), 1), tokenizer.pad_token_id)
            if len(logits_processor) == 1:
                new[0] = line[step % len(line)]
            ids = torch.cat([ids, new], dim=1)
            if bool(stopping_criteria[0](ids, None)[0]):
                return ids
        return ids

    monkeypatch.setattr(type(model), "generate", recite)
    first, second = answer(model, processor, prompts, max_new_tokens=200, stop_loops=True)
    assert tries == [(2, 1), (1, 2)]
    assert first.looped and first.text == "" and not second.looped
    assert generate.PENALTY > 1


def test_the_answer_is_looked_at_where_a_sentence_ends(processor):
    tokenizer = processor.tokenizer
    stop = StopLoops(tokenizer, 2)
    ids = tokenizer(f" {DOG}" * 3, add_special_tokens=False)["input_ids"]
    prompt = [tokenizer.pad_token_id] * 2
    ended = [bool(stop(torch.tensor([[*prompt, *ids[:n]]]), None)) for n in range(1, len(ids) + 1)]
    assert ended == [False] * (len(ids) - 1) + [True]
