"""The notebook, from top to bottom in a real Jupyter kernel, with the tiny model in place of a GPU's."""

import json
import re

import nbformat
import pytest
from nbclient import NotebookClient

from tests.helpers.videos import ROOT

NOTEBOOK = ROOT / "notebooks/finetune_on_colab.ipynb"
SMALL = {
    "INSTALL": False, "PLAN_RECIPES": False, "VIDEOS": 20, "FRAMES": 4, "MODEL": "tiny", "STEPS": 12, "LEARNING_RATE": 5e-3,
    "HELD_OUT": 0.2, "SCORED": 3, "WORDS": 24,
}  # fmt: skip


def filled(more):
    """The notebook with other values in its form fields."""
    book = nbformat.read(NOTEBOOK, as_version=4)
    left = {**SMALL, **more}
    for cell in book.cells:
        lines = cell.source.splitlines() if cell.cell_type == "code" else []
        for i, line in enumerate(lines):
            field = re.match(r"([A-Z_]+) = .*(  # @param.*)", line)
            if field and field[1] in left:
                lines[i] = f"{field[1]} = {left.pop(field[1])!r}{field[2]}"
        if lines:
            cell.source = "\n".join(lines)
    assert not left, f"no such form fields: {left}"
    return book


def test_it_is_stored_without_outputs_and_every_knob_is_a_form_field():
    book = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(book)
    for cell in book.cells:
        if cell.cell_type == "code":
            assert cell.outputs == [] and cell.execution_count is None
            assert cell.source.startswith("# @title")
            for line in cell.source.splitlines():  # a setting without a field cannot be found
                assert not re.match(r"[A-Z_]+ = [^{f]", line) or "# @param" in line, line


def test_resume_may_stay_ticked(tmp_path):
    from train.notebook import resuming

    assert resuming(tmp_path, asked=True) == []  # nothing has begun
    (tmp_path / "run_state.json").write_text("{}")
    assert resuming(tmp_path, asked=True) == ["train.resume=true"]
    assert resuming(tmp_path, asked=False) == []


@pytest.mark.slow
def test_every_cell_runs(tmp_path):
    out = {
        "RUN": str(tmp_path / "run"),
        "GO_ON": True,
        "MORE_STEPS": 2,
        "NEXT_RUN": str(tmp_path / "next"),
        "VIDEO": str(ROOT / "prepared/microworld-videos/world-0-00003.mp4"),
    }
    book = filled(out)
    NotebookClient(
        book,
        timeout=400,
        kernel_name="python3",
        resources={"metadata": {"path": str(ROOT / "notebooks")}},
    ).execute()
    texts, pages, pictures = "", [], 0
    for cell in book.cells:
        for output in cell.get("outputs", ()):
            texts += output.get("text", "")
            data = output.get("data", {})
            pages += [data["text/html"]] if "text/html" in data else []
            pictures += "image/png" in data
    assert "training can start" in texts and "of video in" in texts
    assert "saved in" in texts and "held-out completion loss" in texts
    assert pictures == 2  # a curve of each training, drawn again and again in one place
    assert sum("<iframe" in page for page in pages) == 2
    assert any("<th>what happens</th>" in page for page in pages)
    assert any("<figcaption" in page for page in pages)  # a description shows itself
    assert (tmp_path / "run/adapter_model.safetensors").is_file()
    (origin,) = json.loads((tmp_path / "next/run.json").read_text())["went_on_from"]
    assert origin["run"] == str(tmp_path / "run")
