"""What every test runs under: strict JAX, and the reference data where it is at hand."""

import importlib.resources
import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest
from jax._src import compiler
from PIL import Image

import jaxviz
from jaxviz import cli

collect_ignore = ["programs"]  # run by tests, in processes of their own

# Devices enough for batches that they do not divide; what is not about them uses the first alone.
jax.config.update("jax_num_cpu_devices", 3)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")

# Before torch is loaded: its threads sleep while they wait, and leave the cores to another process of `pytest -n`.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")


@pytest.fixture(scope="module", autouse=True)
def _no_programs_left() -> Iterator[None]:
    """Compiled programs go with their module: those of all tests are more mappings than Linux lets a process have."""
    yield
    jax.clear_caches()


@pytest.fixture(scope="session")
def compiled_programs(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of compiled programs, which the next sessions use again (until `pytest --cache-clear`)."""
    if pytestconfig.pluginmanager.has_plugin("cacheprovider"):
        return pytestconfig.cache.mkdir("compiled")
    return tmp_path_factory.mktemp("compiled")


@pytest.fixture(scope="session", autouse=True)
def _caches(compiled_programs: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Downloaded weights, and the programs of commands in processes of their own, are of this session alone."""
    os.environ["JAXVIZ_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    jax.config.update("jax_compilation_cache_dir", str(compiled_programs))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)


@pytest.fixture(scope="session")
def quick_option() -> dict[str, bool]:
    """The option with which XLA's CPU backend compiles in a third of the time; newer versions do not have it."""
    option = {"xla_cpu_use_fusion_emitters": False}
    try:
        jax.jit(jnp.negative, compiler_options=option)(1.0)
    except jax.errors.JaxRuntimeError:
        return {}
    return option


@pytest.fixture(scope="module")
def toy_networks(quick_option: dict[str, bool]) -> Iterator[None]:
    """For modules about values and errors of toy networks, not about parity, memory or programs: compiled quickly."""
    get_compile_options = compiler.get_compile_options

    def quick(*args: Any, env_options_overrides: dict[str, Any] | None = None, **kwargs: Any) -> Any:
        overrides = quick_option | (env_options_overrides or {})
        return get_compile_options(*args, env_options_overrides=overrides, **kwargs)

    jax.config.update("jax_disable_most_optimizations", True)
    with pytest.MonkeyPatch.context() as patch:  # JAX has a setting for this of each `jit` alone, not of all
        patch.setattr(compiler, "get_compile_options", quick)
        yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture(scope="module")
def quick_processes(quick_option: dict[str, bool]) -> Iterator[None]:
    """For modules whose processes show what depends on no kernel's rounding: these compile in a third of the time."""
    with pytest.MonkeyPatch.context() as patch:  # after this process has read its own flags
        flags = [f"--{name}={str(value).lower()}" for name, value in quick_option.items()]
        patch.setenv("XLA_FLAGS", " ".join([*os.environ.get("XLA_FLAGS", "").split(), *flags]))
        yield


@pytest.fixture
def unchecked() -> Iterator[None]:
    """As users have it: the annotations are not checked, so the messages are the library's own."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(scope="session")
def three_devices() -> None:
    """For tests of several devices, on a machine with one accelerator."""
    if len(jax.devices()) < 3:
        pytest.skip("needs three devices; the CPUs' are made above: JAX_PLATFORMS=cpu")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of reference images and weights that lies beside the project, never in it."""
    folder = Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"the reference data are not at {folder}")
    return folder


@pytest.fixture
def compilations(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[], list[str]]]:
    """The methods' programs that were compiled since it was last called."""

    def names() -> list[str]:
        messages = [record.getMessage() for record in caplog.records]
        caplog.clear()
        methods = (
            "_saliency_maps|_fooling_images|_class_visualizations|_pgd|_smooth_grad|_integrated_gradients|"
            "_perturbation_curve|_grad_cam|_occlusion|_rise|_expected_gradients"
        )
        return [match[1] for message in messages if (match := re.match(rf"Compiling jit\(({methods})\)", message))]

    with jax.log_compiles():
        yield names


class Photographs(NamedTuple):
    pixels: np.ndarray  # (25, 224, 224, 3) uint8
    labels: np.ndarray  # (25,) class indices
    names: list[str]


@pytest.fixture(scope="session")
def photographs(shared_data: Path) -> Photographs:
    data = np.load(shared_data / "imagenet_val_25.npz")
    names = json.loads((shared_data / "imagenet_val_25.labels.json").read_text())
    return Photographs(data["X"], data["y"].astype(np.int32), [name for _, name in names])


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Five different pieces of a photograph, the fourth of them damaged."""
    folder = tmp_path / "photos"
    folder.mkdir()
    with Image.open(str(importlib.resources.files("skimage.data") / "chelsea.png")) as photo:
        for i in range(5):
            photo.crop((30 * i, 10 * i, 30 * i + 200 + i, 10 * i + 210)).save(folder / f"{i}.png")
    damaged = (folder / "3.png").read_bytes()
    (folder / "3.png").write_bytes(damaged[: len(damaged) // 2])
    return folder


class Linear(NamedTuple):
    """A classifier whose scores are known in closed form: score k of image x is sum(weights[..., k] * x) + bias[k]."""

    model: Any
    weights: np.ndarray  # (h, w, c, k)
    bias: np.ndarray  # (k,)

    def scores(self, image: np.ndarray) -> np.ndarray:
        return np.einsum("hwc,hwck->k", image.astype(np.float64), self.weights) + self.bias


LINEAR_SHAPE, LINEAR_CLASSES = (5, 4, 3), 7


def _nnx_linear(weights: np.ndarray, bias: np.ndarray) -> Any:
    from flax import nnx

    class Classifier(nnx.Module):
        def __init__(self, *, rngs: nnx.Rngs):
            self.linear = nnx.Linear(*weights.shape, rngs=rngs)

        def __call__(self, images):
            return self.linear(images.reshape(len(images), -1))

    model = Classifier(rngs=nnx.Rngs(0))
    model.linear.kernel[...], model.linear.bias[...] = jnp.asarray(weights), jnp.asarray(bias)
    return model


def _linen_linear(weights: np.ndarray, bias: np.ndarray) -> Any:
    from flax import linen

    class Classifier(linen.Module):
        @linen.compact
        def __call__(self, images):
            return linen.Dense(weights.shape[1], name="linear")(images.reshape(len(images), -1))

    variables = {"params": {"linear": {"kernel": jnp.asarray(weights), "bias": jnp.asarray(bias)}}}
    return jax.tree_util.Partial(Classifier().apply, variables)


def _equinox_linear(weights: np.ndarray, bias: np.ndarray) -> Any:
    import equinox as eqx

    linear = eqx.nn.Linear(*weights.shape, key=jax.random.key(0))
    where = lambda linear: (linear.weight, linear.bias)  # noqa: E731
    linear = eqx.tree_at(where, linear, (jnp.asarray(weights.T), jnp.asarray(bias)))
    arrays, static = eqx.partition(linear, eqx.is_array)

    def apply(arrays, images):
        return jax.vmap(eqx.combine(arrays, static))(images.reshape(len(images), -1))

    return jax.tree_util.Partial(apply, arrays)


def _haiku_linear(weights: np.ndarray, bias: np.ndarray) -> Any:
    import haiku as hk

    classifier = hk.without_apply_rng(hk.transform(lambda images: hk.Linear(weights.shape[1])(hk.Flatten()(images))))
    params = {"linear": {"w": jnp.asarray(weights), "b": jnp.asarray(bias)}}
    return jax.tree_util.Partial(classifier.apply, params)


def _function_linear(weights: np.ndarray, bias: np.ndarray) -> Any:
    return lambda images: images.reshape(len(images), -1) @ jnp.asarray(weights) + jnp.asarray(bias)[None]


def _linear(form: str) -> Linear:
    random = np.random.default_rng(0)
    weights = random.normal(size=(np.prod(LINEAR_SHAPE), LINEAR_CLASSES)).astype(np.float32)
    bias = random.normal(size=LINEAR_CLASSES).astype(np.float32)
    build = {
        "nnx": _nnx_linear,
        "linen": _linen_linear,
        "equinox": _equinox_linear,
        "haiku": _haiku_linear,
        "function": _function_linear,
    }[form]
    return Linear(build(weights, bias), weights.reshape(*LINEAR_SHAPE, LINEAR_CLASSES), bias)


@pytest.fixture(scope="session", params=["nnx", "linen", "equinox", "haiku", "function"])
def any_linear(request: pytest.FixtureRequest) -> Linear:
    """The same linear classifier in each form that a model may have."""
    return _linear(request.param)


@pytest.fixture(scope="session")
def linear() -> Linear:
    return _linear("nnx")


@pytest.fixture(scope="session")
def linear_images() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(6, *LINEAR_SHAPE)).astype(np.float32)


@pytest.fixture(scope="session")
def squeezenet() -> Any:
    """SqueezeNet 1.1 with its default weights, which need no download."""
    return jaxviz.load_model("squeezenet1_1")


class CommandResult(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def records(self) -> list[dict[str, Any]]:
        return json.loads(self.out)


@pytest.fixture
def command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., CommandResult]:
    """Runs the command as its entry point does, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr("gc.freeze", lambda: None)  # for the end of a process

    def run(*arguments: str) -> CommandResult:
        monkeypatch.setattr(sys, "argv", ["jaxviz", *arguments])
        with pytest.raises(SystemExit) as end:
            cli.main()
        printed = capsys.readouterr()
        assert "Traceback" not in printed.err
        return CommandResult(end.value.code or 0, printed.out, printed.err)

    return run
