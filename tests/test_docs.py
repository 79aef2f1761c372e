"""The reference has every public name, and the tutorial shows what its code does."""

import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

import jaxviz

DOCS = Path(__file__).parents[1] / "docs"
NUMBER = re.compile(r"\d+(?:\.\d+)?")


def test_the_reference_has_every_public_name():
    on_page = re.findall(r"^::: jaxviz\.(\w+)$", (DOCS / "api.md").read_text(), re.MULTILINE)
    assert sorted(set(jaxviz.__all__) - set(on_page)) == []
    assert len(on_page) == len(set(on_page))


def outputs(notebook: Any) -> list[list[tuple[str, str]]]:
    """Of each cell of code, what it shows: texts as they are, of a picture its description."""
    found = []
    for cell in notebook.cells:
        if cell.cell_type == "code":
            shown = [
                (output.output_type, output.text if "text" in output else output.metadata["image/jpeg"]["alt"])
                for output in cell.outputs
            ]
            found.append(shown)
    return found


def words(text: str) -> str:
    """The text without its numbers, which depend on how the processor rounds."""
    return NUMBER.sub("#", " ".join(text.split()))


# What the page says of its numbers, with room for another processor's rounding. Run in the notebook, after it.
FACTS = """
assert (grown / (norm * distances))[0] > 0.95 > 0.5 > (grown / (norm * distances))[-1] > 0
assert result.fooled.all() and (result.steps > 3).all()
assert abs(fooled.astype(int) - originals).max() < 60
assert many.fooled.sum() >= 8
assert (probabilities(model, from_uint8(pictures)).argmax(1) == targets)[many.fooled].all()
assert still[many.fooled].sum() <= 2
assert reached[0] <= 5 < 8 <= reached[1]
assert spider.scores[0, -10:].mean() > 10 * spider.scores[0, 0]
assert climbs.scores[7, -10:].mean() < 0.7 * climbs.scores[4, -10:].mean()
assert sequence.scores[0, -10:].mean() > 5 * sequence.scores[0, 0]
assert snails.any()
"""


@pytest.mark.slow
def test_the_tutorial_shows_what_its_code_does(tmp_path, monkeypatch, compiled_programs, quick_processes):
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(compiled_programs))
    notebook = nbformat.read(DOCS / "tutorial.ipynb", as_version=4)
    expected = outputs(notebook)
    client = NotebookClient(
        notebook, timeout=None, coalesce_streams=True, record_timing=False, resources={"metadata": {"path": str(DOCS)}}
    )
    notebook.cells.append(nbformat.v4.new_code_cell(FACTS))
    client.execute()
    notebook.cells.pop()
    found, executed = outputs(notebook), tmp_path / "tutorial.ipynb"
    nbformat.write(notebook, executed)
    hint = f"if {executed} is right, put it in the place of docs/tutorial.ipynb"
    assert [len(cell) for cell in found] == [len(cell) for cell in expected], hint
    wrong = [
        (ours, theirs)
        for cell, wanted in zip(found, expected, strict=True)
        for (kind, ours), (wanted_kind, theirs) in zip(cell, wanted, strict=True)
        if kind != wanted_kind or words(ours) != words(theirs)
    ]
    assert not wrong, hint
