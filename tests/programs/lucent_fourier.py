"""Writes `golden/lucent_fourier.json`: pictures of given spectra by lucent 0.1.8.

`pip install --no-deps torch-lucent`: it requires an old version of kornia, so it is no dependency of the tests.
"""

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import torch


def module(name: str) -> ModuleType:
    """One of lucent's files alone, without the packages that the others import."""
    root = importlib.util.find_spec("lucent")
    assert root is not None
    assert root.origin is not None
    spec = importlib.util.spec_from_file_location(name, Path(root.origin).parent / "optvis" / "param" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def main() -> None:
    spatial, color = module("spatial"), module("color")
    cases = []
    for height, width, decorrelate in ((8, 12, True), (6, 8, False)):
        torch.manual_seed(0)
        (spectrum,), image = spatial.fft_image((1, 3, height, width), sd=1.0)
        picture = color.to_valid_rgb(image, decorrelate=decorrelate)()
        cases.append(
            {
                "decorrelate": decorrelate,
                "spectrum": spectrum[0].detach().numpy().round(7).tolist(),
                "picture": picture[0].detach().numpy().round(7).tolist(),
            }
        )
    (Path(__file__).parents[1] / "golden" / "lucent_fourier.json").write_text(json.dumps(cases))


if __name__ == "__main__":
    main()
