"""The example policy in CONTRIBUTING is a policy."""

import re
import tomllib

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from data.selection.config import FrameKeys
from tests.signals import signals_of
from tests.videos import ROOT, every


def test_the_example_policy_works():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", text, re.S)
    assert len(code.splitlines()) < 40
    scope: dict = {}
    exec(compile(code, "ends.py", "exec"), scope)
    signals = signals_of(every(0.1, 50), cuts_s=[2.0])
    assert scope["ends"](signals, FrameKeys(max=8)).times_s == (0.0, 4.9)
    assert len(scope["ends"](signals, FrameKeys(max=1)).times_s) == 1
    assert len(scope["ends"](signals_of([0.0], black=True), FrameKeys()).times_s) == 1


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
