"""A method's program compiled for a slice of TPUs that need not be there."""

import importlib.util
import os
import time
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax.experimental import topologies

import jaxviz
from benchmarks.chips import CHIPS
from benchmarks.workloads import SEED, Method
from jaxviz.models import VGG16, SqueezeNet

# Images of each chip in one call: whole tiles of 128, so that nothing is padded.
IMAGES = {"SqueezeNet 1.1": 256, "VGG16": 128}
_SIZE = 224
# Of a class visualization; the compiler counts a loop's body once, however often it runs.
_STEPS = 10


class Case(NamedTuple):
    """What is compiled. A topology is a chip and the shape of a slice of such chips, as "v5e:2x2"."""

    method: Method
    network: Literal["SqueezeNet 1.1", "VGG16"]
    dtype: Literal["bfloat16", "float32"]
    topology: str

    @property
    def name(self) -> str:
        """Says all of it."""
        return f"{self.network} {self.method}, {self.dtype}, {self.topology}"


class NoCompilerError(Exception):
    """There is no compiler for TPUs here, or none for such a slice; the message says what to do."""


def devices_of(topology: str) -> Sequence[Any]:
    """The devices of a slice, to compile for.

    Raises:
        NoCompilerError: libtpu is not installed, or knows no such slice.
    """
    if importlib.util.find_spec("libtpu") is None:
        raise NoCompilerError("The compiler for TPUs is missing; install it with: pip install 'jaxviz[tpu-aot]'")
    if topology.split(":")[0] not in CHIPS:
        raise NoCompilerError(f"--topology must be a slice of {' or '.join(CHIPS)}, as v5e:2x2, got {topology}")
    # libtpu looks for the machine's own TPU, and complains of there being none, unless told; and lets one process of a
    # machine use it at a time, which compiling does not need.
    os.environ.update(TPU_SKIP_MDS_QUERY="1", TPU_LOG_DIR="disabled", ALLOW_MULTIPLE_LIBTPU_LOAD="1")
    os.environ.update(TPU_ACCELERATOR_TYPE="v5litepod-4", TPU_WORKER_HOSTNAMES="localhost")
    jax.config.update("jax_platforms", "cpu")  # where the constants of a program are made
    try:
        return topologies.get_topology_desc(topology, platform="tpu").devices
    except jax.errors.JaxRuntimeError as error:
        raise NoCompilerError(f"--topology {topology}: {str(error).splitlines()[0]}") from error


def abstract_model(case: Case) -> Any:
    """The network's shapes and types: no weight is downloaded, or allocated."""
    dtype = jnp.dtype(case.dtype)
    if case.network == "VGG16":
        return nnx.eval_shape(lambda: VGG16(dtype=dtype, rngs=nnx.Rngs(0)))
    return nnx.eval_shape(lambda: SqueezeNet("1_1", dtype=dtype, rngs=nnx.Rngs(0)))


def trivial_model(images: jax.Array) -> jax.Array:
    """Stands in for a network where what is around it is looked at: it compiles in seconds."""
    return jnp.tanh(images).mean((1, 2)) @ jnp.ones((3, 10), images.dtype)


def compiled_for(case: Case, devices: Sequence[Any], images: int, model: Any) -> tuple[jax.stages.Compiled, float]:
    """The program of a call with so many images for each device, and the seconds that compiling it took."""
    count = images * len(devices)
    examples = jax.ShapeDtypeStruct((count, _SIZE, _SIZE, 3), case.dtype)
    classes = jax.ShapeDtypeStruct((count,), jnp.int32)
    method = {
        "saliency": jaxviz.saliency_maps,
        "fooling": jaxviz.fooling_images,
        "visualization": jaxviz.class_visualizations,
    }[case.method]
    split = jaxviz.data_parallel(method, devices=devices)
    if case.method == "visualization":
        bounds, key = jaxviz.images.IMAGENET_BOUNDS, jax.random.key(SEED)
        lowered = split.lower(model, classes, key=key, init_images=examples, num_steps=_STEPS, bounds=bounds)
    else:
        lowered = split.lower(model, examples, classes)
    start = time.perf_counter()
    return lowered.compile(), time.perf_counter() - start
