"""The tree is what the README says, and no module of ours hides one of somebody else."""

import ast
import re
import runpy
import subprocess
import sys
from graphlib import TopologicalSorter
from importlib.metadata import packages_distributions

import pytest

import data
import train
from tests.helpers.videos import PAGES, ROOT

CODE = [p for folder in ("data", "train", "scripts") for p in (ROOT / folder).rglob("*.py")]


def test_our_packages_are_the_imported_ones():
    assert [p.__path__[0] for p in (data, train)] == [str(ROOT / "data"), str(ROOT / "train")]


def test_no_script_shadows_a_library():
    """A script's folder comes first on its path: `scripts/inspect.py` would break torch."""
    taken = set(sys.stdlib_module_names) | set(packages_distributions())
    for path in [
        *(ROOT / "scripts").glob("*.py"),
        *(ROOT / "train").glob("*.py"),
        *(ROOT / "data").glob("*.py"),
    ]:
        assert path.stem == "__init__" or path.stem not in taken, path


def imports_of(path):
    """Modules of ours that a file names in an import, inside functions and for type checkers too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{a.name}" for a in node.names)
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (a.name for a in node.names)


def modules():
    """Our files by their dotted names."""
    return {".".join(p.relative_to(ROOT).with_suffix("").parts): p for p in CODE}


def test_no_circle_of_imports():
    """Not even one that is closed only while types are checked, or later."""
    files = modules()
    TopologicalSorter(
        {name: set(imports_of(path)) & files.keys() - {name} for name, path in files.items()}
    ).prepare()


def rooms():
    """The lines of CONTRIBUTING's stack, from bottom to top: `data.errors`, …, `train.bench`."""
    text = (ROOT / "CONTRIBUTING.md").read_text().split("## The stack")[1].split("```")[1]
    names = re.findall(r"^((?:data|train)/\S+)", text, re.M)
    return [re.sub(r"(/|\.py)$", "", name).replace("/", ".") for name in reversed(names)]


def test_no_import_goes_up():
    """The stack: a room imports only what stands below it. The most exact line counts."""
    files, stack = modules(), rooms()
    floor = {
        name: max((i for i, room in enumerate(stack) if f"{name}.".startswith(f"{room}.")), key=lambda i: len(stack[i]))
        for name in files
        if not name.startswith("scripts.") and not name.endswith("__init__")
    }  # fmt: skip
    assert set(floor.values()) == set(range(len(stack))), "a line of the stack that names no file"
    for name, at in floor.items():
        up = [other for other in imports_of(files[name]) if floor.get(other, -1) > at]
        assert not up, f"{name} imports {up}"


def test_files_stay_readable():
    for path in CODE:
        assert len(path.read_text().splitlines()) <= 300, f"{path}: split it by concern"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.parent.name)
def test_the_pages_paths_and_links_exist(page):
    text = page.read_text()
    for path in re.findall(r"(?<![\w/])(?:scripts|train|data|recipes)/[\w/]+\.(?:py|yaml)", text):
        if f"]({path}" not in text:
            assert (ROOT / path).is_file(), path
    for link in re.findall(r"\]\((?!http|#)([^)#]+)", text):
        assert (page.parent / link).exists(), link


def test_the_readme_is_read_in_three_minutes():
    assert len((ROOT / "README.md").read_text()) <= 12_000


def test_the_pages_commands_parse():
    """Every command of ours in the README and the folders' pages is accepted by its own parser."""
    from data.config import load
    from data.offline.config import PrepareConfig
    from data.prepared.config import PushConfig
    from data.preview.config import PreviewConfig
    from train.batches.config import InspectConfig
    from train.config import TrainConfig
    from train.demo.config import DemoConfig
    from train.evaluation.config import EvaluateConfig, ExportConfig
    from train.hub.config import PushRunConfig
    from train.inference.config import AppConfig, DescribeConfig, MergeConfig
    from train.machine.config import DoctorConfig
    from train.memory.config import PlanConfig

    text = "\n".join(page.read_text() for page in PAGES)
    models = {
        "train/sft.py": (TrainConfig, None),
        "scripts/prepare.py": (PrepareConfig, None),
        "scripts/describe.py": (DescribeConfig, "videos"),
        "scripts/demo.py": (DemoConfig, None),
        "scripts/preview.py": (PreviewConfig, "videos"),
        "scripts/push_dataset.py": (PushConfig, None),
        "scripts/inspect_dataset.py": (InspectConfig, None),
        "scripts/evaluate.py": (EvaluateConfig, None),
        "scripts/export_benchmark.py": (ExportConfig, None),
        "scripts/push.py": (PushRunConfig, None),
        "scripts/merge.py": (MergeConfig, None),
        "scripts/app.py": (AppConfig, None),
        "scripts/plan.py": (PlanConfig, None),
        "scripts/cache_features.py": (TrainConfig, None),
        "scripts/doctor.py": (DoctorConfig, None),
    }
    found = 0
    for block in re.findall(r"```(?:bash|sh)\n(.*?)```", text, re.S):
        for line in block.replace("\\\n", " ").splitlines():
            words = line.split("#")[0].split()
            for script, (model, files) in models.items():
                if script in words and "--help" not in words:
                    load(model, words[words.index(script) + 1 :], files)
                    found += 1
    assert found >= 25


def test_help_loads_nothing_heavy():
    """Nor does a typo: keys are checked before any of these is imported."""
    code = (
        "import contextlib, io, runpy, sys\n"
        "for script in sys.argv[1:]:\n"
        "    sys.argv = [script, '--help']\n"
        "    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):\n"
        "        runpy.run_path(script, run_name='__main__')\n"
        "print(*sorted({'torch', 'transformers', 'datasets', 'pyarrow', 'pandas', 'av', 'cv2', 'scenedetect'} & set(sys.modules)))\n"
    )
    scripts = [*map(str, sorted((ROOT / "scripts").glob("*.py"))), str(ROOT / "train/sft.py")]
    done = subprocess.run(
        [sys.executable, "-c", code, *scripts], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0 and done.stdout.strip() == "", (done.stdout, done.stderr)


def test_the_picture_of_the_flow_is_of_this_tree():
    """Its folders are there, and the files are what the script draws."""
    drawn = runpy.run_path(str(ROOT / ".github/draw_flow.py"))
    for _, _, folders in drawn["STAGES"]:
        for folder in folders.split(" · "):
            assert (ROOT / folder).is_dir(), folder
    for mode in drawn["COLOURS"]:
        assert (ROOT / f".github/flow-{mode}.svg").read_text() == drawn["flow"](mode)
