"""The life of a run, as hypothesis draws it: starts, kills, resumes, other keys, other data, second starts."""

import hashlib
import json
import os
import shutil

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from safetensors.torch import load_file

from data.locks import locked
from data.offline.config import PrepareConfig
from data.offline.prepare import prepare
from data.selection.config import FrameKeys
from data.sources.config import SourceKeys
from tests.helpers.commands import Commands
from tests.helpers.runs import contents, rows, steps
from train.model import tiny
from train.run.folder import complete_checkpoints

pytestmark = pytest.mark.slow
STEPS = 4
KILLS = st.one_of(st.none(), st.integers(0, STEPS - 1))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Two datasets, a base model, and a server of commands."""
    place = tmp_path_factory.mktemp("life")
    for name, limit in (("a", 6), ("b", 8)):
        source = SourceKeys(name="microworld", path=str(place / "videos"), limit=limit)
        prepare(
            PrepareConfig(
                source=source, frames=FrameKeys(max=2, px=48), out=str(place / name), workers=1
            )
        )
    tiny.build(place / "base")
    server = Commands(place / "server")
    yield place, server
    server.close()


def machine(place, server):
    def argv(*more):
        given = {m.split("=")[0] for m in more}
        own = [
            "train.method=lora",
            f"model.name={place}/base",
            f"data.path={place}/data",
            f"train.output={place}/runs/x",
            f"train.steps={STEPS}",
            "train.save_every=1",
            "train.keep_checkpoints=2",
            "data.eval_share=0.3",
            "train.eval_every=2",
            "data.workers=0",
            "train.log_every=1",
            "train.accumulate=1",
            "lora.r=2",
        ]
        return [a for a in own if a.split("=")[0] not in given] + list(more)

    quiet: dict[str, dict] = {}

    class Life(RuleBasedStateMachine):
        def __init__(self):
            super().__init__()
            shutil.rmtree(place / "runs", ignore_errors=True)
            self.run = place / "runs/x"
            self.finished: dict[str, str] = {}
            self.swap("a")
            self.of = None  # data and keys that the weights follow from; None: mixed

        def swap(self, name):
            shutil.rmtree(place / "data", ignore_errors=True)
            shutil.copytree(place / name, place / "data")
            self.data = name

        def sft(self, kill, *more):
            how = {} if kill is None else {"kill_after_step": kill}
            return server.run("sft", argv(*more), **how)

        @property
        def is_finished(self):
            return (self.run / "run.json").exists()

        @rule(kill=KILLS)
        def start(self, kill):
            was, there = self.is_finished, complete_checkpoints(self.run)
            asides = len(list(place.glob("runs/x-before-*")))
            told = self.sft(kill)
            if there and not was:
                assert told["code"] == 2 and "train.resume=true" in told["said"]
                return
            assert told.get("killed") if kill is not None else told["code"] == 0
            assert len(list(place.glob("runs/x-before-*"))) == asides + was
            self.of = self.data

        @rule(kill=KILLS)
        def resume(self, kill):
            was, begun, before = (
                self.is_finished,
                (self.run / "run_state.json").exists(),
                contents(self.run),
            )
            there = [int(p.name[11:]) for p in complete_checkpoints(self.run)]
            told = self.sft(kill, "train.resume=true")
            if was:
                assert told["code"] == 0 and contents(self.run) == before
            elif not begun and not there:
                assert told["code"] == 2 and "no run has begun in" in told["said"]
            elif there and self.of != self.data:
                assert told["code"] == 2 and "not the dataset it began with" in told["said"]
                assert contents(self.run) == before
            elif kill is not None and there and kill < there[-1]:
                assert told.get("killed")  # at once
            else:
                assert told.get("killed") if kill is not None else told["code"] == 0
                self.of = self.of if there else self.data

        @precondition(lambda self: complete_checkpoints(self.run) and not self.is_finished)
        @rule()
        def other_keys(self):
            before = contents(self.run)
            told = self.sft(None, "train.resume=true", "data.eval_share=0.5")
            assert (
                told["code"] == 2 and "data.eval_share=0.5 where it began with 0.3" in told["said"]
            )
            told = self.sft(None, "train.resume=true", "lora.r=4")
            assert told["code"] == 2 and "lora.r=4 where it began with 2" in told["said"]
            assert contents(self.run) == before

        @rule(name=st.sampled_from("ab"))
        def prepare_anew(self, name):
            self.swap(name)

        @precondition(lambda self: self.run.is_dir())
        @rule(resume=st.booleans())
        def second_start(self, resume):
            before = contents(self.run)
            with locked(self.run, "x"):
                told = self.sft(None, *(["train.resume=true"] if resume else []))
            assert told["code"] == 2 and f"process {os.getpid()} on" in told["said"]
            assert contents(self.run) == before

        @invariant()
        def no_step_twice_and_none_lost(self):
            if (self.run / "metrics.jsonl").exists():
                seen = list(rows(self.run))
                assert seen == list(range(1, len(seen) + 1))
                whole = [int(p.name[11:]) for p in complete_checkpoints(self.run)]
                assert not whole or len(seen) >= whole[-1]
                assert len(whole) <= 2

        @invariant()
        def a_finished_adapter_never_changes(self):
            there = {}
            for folder in place.glob("runs/x*"):
                if (folder / "run.json").exists():
                    digest = hashlib.sha256((folder / "adapter_model.safetensors").read_bytes())
                    there[digest.hexdigest()] = folder.name
            assert self.finished.keys() <= there.keys()
            self.finished |= there

        @invariant()
        def what_is_told_follows_from_the_folder(self):
            if not self.is_finished:
                return
            told = json.loads((self.run / "run.json").read_text())
            assert told["results"]["steps"] == STEPS == max(rows(self.run)) == steps(self.run)[-1]
            assert told["results"]["eval_loss_after"] == rows(self.run, "eval_loss")[STEPS]
            assert told["results"]["eval_loss_before"] == rows(self.run, "eval_loss")[0]
            starts = [p["from_step"] for p in told["parts"]]
            assert starts == sorted(set(starts)) and starts[0] == 0
            left = load_file(self.run / "adapter_model.safetensors")
            last = load_file(self.run / f"checkpoint-{STEPS}/adapter_model.safetensors")
            assert all(left[k].equal(last[k]) for k in last)
            first = quiet.setdefault(self.of, left)  # whichever way it was reached
            assert all(left[k].equal(first[k]) for k in first), self.of

    return Life


def test_life(place):
    many = int(os.environ.get("LIVES", "5"))
    Life = machine(*place)
    Life.TestCase.settings = settings(
        max_examples=many,
        stateful_step_count=8,
        deadline=None,
        derandomize=many == 5,
        phases=[Phase.generate],
    )
    case = Life.TestCase()
    case.runTest()
