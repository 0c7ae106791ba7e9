"""The examples in CONTRIBUTING are a policy, a dataset and a measure."""

import json
import re
import sys
import tomllib
from types import ModuleType

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from data.config import load
from data.offline.config import PrepareConfig
from data.offline.prepare import prepare
from data.prepared.dataset import Prepared
from data.sample import events_of
from data.selection.choose import choose_frames
from data.selection.config import FrameKeys
from data.selection.known_policies import POLICIES, Policy
from data.sources.known_sources import SOURCES, Source
from tests.helpers.signals import signals_of
from tests.helpers.videos import ROOT, call_command, every, write_video
from train.evaluation import scoring
from train.metrics.shown import CAPTIONS, DisplayedMetric

TEXT = (ROOT / "CONTRIBUTING.md").read_text()


def example(heading: str) -> tuple[ModuleType, list[str]]:
    """A section's code as a module, at the path that the section names, and its lines to be added elsewhere."""
    section = TEXT.split(f"## Adding {heading}\n")[1].split("\n## ")[0]
    ((path, code),) = re.findall(r"say `([\w/]+)\.py`:\n\n```python\n(.*?)```", section, re.S)
    assert len(code.splitlines()) < 40
    module = ModuleType(path.replace("/", "."))
    exec(compile(code, f"{path}.py", "exec"), module.__dict__)
    return module, re.findall(r"^    (\S.*)$", section.replace(code, ""), re.M)


def test_the_example_policy_works(tmp_path, monkeypatch):
    module, (entry, _) = example("a frame policy")
    signals = signals_of(every(0.1, 50), cuts_s=[2.0])
    assert module.ends(signals, FrameKeys(max=8)).times_s == (0.0, 4.9)
    assert len(module.ends(signals, FrameKeys(max=1)).times_s) == 1
    assert len(module.ends(signals_of([0.0], black=True), FrameKeys()).times_s) == 1
    # its file and its entry are all that it takes to be chosen by name
    ((name, policy),) = eval("{" + entry + "}", {"Policy": Policy}).items()
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(POLICIES, name, policy)
    write_video(tmp_path / "v.mp4", times_s=every(0.1, 50))
    chosen = choose_frames(
        str(tmp_path / "v.mp4"),
        load(PrepareConfig, ["source=microworld", "out=o", f"frames.policy={name}"]).frames,
    )
    assert chosen.times_s == pytest.approx((0.0, 4.9)) and set(chosen.reasons) == {"an end"}


def test_the_example_dataset_works(tmp_path, monkeypatch):
    module, (entry,) = example("a dataset")
    ((name, source),) = eval("{" + entry + "}", {"Source": Source}).items()
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(SOURCES, name, source)
    for video in ("a.mp4", "b.mp4"):
        write_video(tmp_path / video, times_s=every(0.1, 40))
    rows = ["a.mp4,0,1.5,A bus passes.", "a.mp4,00:02,00:03,A man walks.", "b.mp4,3,1,Reversed."]
    (tmp_path / "clips.csv").write_text("\n".join(["video,start,end,text", *rows, ""]))
    keys = [f"source={name}", f"source.path={tmp_path}/clips.csv", f"out={tmp_path}/out"]
    prepare(load(PrepareConfig, [*keys, "workers=1", "frames.max=2"]))
    (row,) = Prepared.open(str(tmp_path / "out")).rows()
    said = [(e.start_s, e.end_s, e.text) for e in events_of(row)]
    assert said == [(0.0, 1.5, "A bus passes."), (2.0, 3.0, "A man walks.")]
    (bad,) = (tmp_path / "out/quarantine.jsonl").read_text().splitlines()
    assert "b.mp4" in bad and "no target left" in bad


def test_the_example_measure_works(tmp_path, monkeypatch):
    module, (line, shown) = example("a measure")
    real = scoring._figures

    def with_line(row, **settings):
        figures, prediction = real(row, **settings), row[1] or scoring.SAYS_NOTHING
        exec(line, module.__dict__, {"figures": figures, "prediction": prediction})
        return figures

    monkeypatch.setattr(scoring, "_figures", with_line)
    metric = eval(shown.rstrip(","), {"DisplayedMetric": DisplayedMetric})
    monkeypatch.setitem(CAPTIONS, metric.name, metric.caption)
    truth = {f"v{i}": {"duration": 9, "timestamps": [[0, 4]], "sentences": ["A."]} for i in "ab"}
    said = {
        "va": [{"timestamp": t, "sentence": "A."} for t in ([0, 1], [2, 3], [1, 2])],
        "vb": [{"timestamp": t, "sentence": "A."} for t in ([0, 1], [2, 3])],
    }
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    (tmp_path / "said.json").write_text(json.dumps({"results": said}))
    files = [f"predictions={tmp_path}/said.json", f"references={tmp_path}/truth.json"]
    done = call_command("scripts/evaluate.py", *files, f"out={tmp_path}/out")
    assert done.returncode == 0, done.stderr
    assert re.search(rf"{metric.caption} +0\.750 \[0\.500, 1\.000\]", done.stdout), done.stdout


def test_what_was_tested_is_within_the_bounds():
    """The constraints that CI installs with: every direct dependency, at a version that pyproject.toml allows."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = (ROOT / ".ci/constraints.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    pins = {canonicalize_name(name): version for name, version in pins.items()}
    for text in project["dependencies"]:
        wanted = Requirement(text)
        assert wanted.specifier.contains(pins[canonicalize_name(wanted.name)]), text
    for name in ("accelerate", "bitsandbytes", "datasets", "peft", "transformers", "trl"):
        (bounds,) = [d for d in project["dependencies"] if Requirement(d).name == name]
        assert "<" in bounds, f"{bounds}: its insides are used, so the next one may break them"
