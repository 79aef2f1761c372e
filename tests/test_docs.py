"""The reference has every public name, and the tutorial's outputs are what its code says."""

import math
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

import jaxviz

DOCS = Path(__file__).parents[1] / "docs"
NUMBER = re.compile(r"\d+(?:\.(\d+))?")


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


def alike(text: str, expected: str) -> bool:
    """The same words, and numbers within a tenth, or one in the last digit that is shown.

    Another processor rounds otherwise, and a fooling image may take a step more.
    """
    if NUMBER.sub("#", " ".join(text.split())) != NUMBER.sub("#", " ".join(expected.split())):
        return False
    pairs = zip(NUMBER.finditer(text), NUMBER.finditer(expected), strict=True)
    return all(
        math.isclose(float(a[0]), float(b[0]), rel_tol=0.1, abs_tol=1.01 * 10.0 ** -len(b[1] or "")) for a, b in pairs
    )


@pytest.mark.parametrize(
    ("text", "expected", "same"),
    [
        ("cat: 17 steps", "cat: 18 steps", True),
        ("0.71", "0.72", True),
        ("17 steps", "21 steps", False),
        ("0.71", "0.93", False),
        ("a cat, 71%", "a dog, 71%", False),
    ],
)
def test_alike(text, expected, same):
    assert alike(text, expected) == same


def test_the_tutorial_shows_what_its_code_does(tmp_path):
    notebook = nbformat.read(DOCS / "tutorial.ipynb", as_version=4)
    expected = outputs(notebook)
    client = NotebookClient(
        notebook, timeout=None, coalesce_streams=True, record_timing=False, resources={"metadata": {"path": str(DOCS)}}
    )
    client.execute()
    found, executed = outputs(notebook), tmp_path / "tutorial.ipynb"
    nbformat.write(notebook, executed)
    hint = f"if {executed} is right, put it in the place of docs/tutorial.ipynb"
    assert [len(cell) for cell in found] == [len(cell) for cell in expected], hint
    wrong = [
        (ours, theirs)
        for cell, wanted in zip(found, expected, strict=True)
        for (kind, ours), (wanted_kind, theirs) in zip(cell, wanted, strict=True)
        if kind != wanted_kind or not alike(ours, theirs)
    ]
    assert not wrong, hint
