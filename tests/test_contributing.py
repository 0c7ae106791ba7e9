"""The example policy in CONTRIBUTING is a policy."""

import re
import sys
import tomllib
from types import ModuleType

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from data.config import load
from data.offline.config import PrepareConfig
from data.selection.choose import choose_frames
from data.selection.config import FrameKeys
from data.selection.known_policies import POLICIES, Policy
from tests.helpers.signals import signals_of
from tests.helpers.videos import ROOT, every, write_video


def test_the_example_policy_works(tmp_path, monkeypatch):
    text = (ROOT / "CONTRIBUTING.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", text, re.S)
    assert len(code.splitlines()) < 40
    scope: dict = {}
    exec(compile(code, "ends.py", "exec"), scope)
    signals = signals_of(every(0.1, 50), cuts_s=[2.0])
    assert scope["ends"](signals, FrameKeys(max=8)).times_s == (0.0, 4.9)
    assert len(scope["ends"](signals, FrameKeys(max=1)).times_s) == 1
    assert len(scope["ends"](signals_of([0.0], black=True), FrameKeys()).times_s) == 1
    # its file and its entry are all that it takes to be chosen by name
    ((name, entry),) = re.findall(r'^    "(\w+)": (Policy\(.*\)),$', text, re.M)
    module = ModuleType("data.selection.policies.ends")
    module.ends = scope["ends"]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(POLICIES, name, eval(entry, {"Policy": Policy}))
    write_video(tmp_path / "v.mp4", times_s=every(0.1, 50))
    chosen = choose_frames(
        str(tmp_path / "v.mp4"),
        load(PrepareConfig, ["source=microworld", "out=o", f"frames.policy={name}"]).frames,
    )
    assert chosen.times_s == pytest.approx((0.0, 4.9)) and set(chosen.reasons) == {"an end"}


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
