"""The example policy in CONTRIBUTING is a policy."""

import re

from data.keys import FrameKeys
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
