"""The site's hooks: render the notebook as a page, and formulas as MathML, which needs no script."""

import base64
import html
import json
import re
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.structure.files import File, Files

_NOTEBOOK = "tutorial.ipynb"
_FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.+?)\\[)\]]</\1>', re.DOTALL)


def on_files(files: Files, *, config: Any) -> Files:
    """Adds a page for the notebook, which stays available as a file, and the pages of the benchmarks."""
    notebook = files.get_file_from_path(_NOTEBOOK)
    assert notebook is not None
    text, pictures = _markdown(json.loads(notebook.content_string))
    files.append(File.generated(config, "tutorial.md", content=text))
    for name, content in pictures.items():
        files.append(File.generated(config, name, content=content))
    for path in (Path(config.config_file_path).parent / "benchmarks" / "results").iterdir():
        if path.suffix in (".md", ".png"):
            files.append(File.generated(config, f"benchmarks/{path.name}", abs_src_path=str(path)))
    return files


def on_page_content(content: str, **kwargs: Any) -> str:
    """Replaces the formulas that arithmatex marked by MathML."""
    return _FORMULA.sub(
        lambda found: convert(html.unescape(found[2]), display="block" if found[1] == "div" else "inline"), content
    )


def _markdown(notebook: dict[str, Any]) -> tuple[str, dict[str, bytes]]:
    blocks: list[str] = []
    pictures: dict[str, bytes] = {}
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            blocks.append(source)
            continue
        blocks.append(f"```python\n{source}\n```")
        for output in cell["outputs"]:
            data = output.get("data", {})
            if jpeg := data.get("image/jpeg"):
                name = f"{Path(_NOTEBOOK).stem}/{len(pictures)}.jpg"
                pictures[name] = base64.b64decode(jpeg)
                blocks.append(f"![{output['metadata']['image/jpeg']['alt']}]({name})")
            else:
                text = "".join(output.get("text") or data["text/plain"])
                blocks.append(f"```{{.text .output}}\n{text.rstrip()}\n```")
    return "\n\n".join(blocks), pictures
