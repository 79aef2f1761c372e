"""A batch run on a Ray cluster: actors compute shards; Ray places actors, replaces dead ones and repeats their calls.

Shards are independent, and a shard that is written twice has the same bytes, so that nothing else is needed when an
actor, a node or the driver dies.
"""

import contextlib
import logging
import os
import re
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import jax
import ray
from ray import exceptions

from jaxviz.batch import locations, methods
from jaxviz.batch.items import Item
from jaxviz.batch.locations import Location
from jaxviz.batch.methods import Method
from jaxviz.batch.shards import Shards
from jaxviz.batch.work import Outcome, Sizes, Work, versions

_CALLS = 2  # of an actor at once: the images of one shard are read while another shard is computed
# What Ray does again: to start an actor that died, and a call whose actor died or whose store did not answer. It tries
# each second until it knows that a node is dead, which takes up to half a minute.
_RESTARTS, _RETRIES = 10, 100
_SECONDS_BETWEEN_LOOKS = 1.0  # at the cluster, for nodes that have joined


class Job(NamedTuple):
    """What all actors need besides the weights.

    Attributes:
        method: the name of the command.
        settings: the method's settings.
        sizes: sizes of the run.
        folder: where the shards are written.
        base: the folder that the files of the items are relative to; None for items without files.
        needed: what a node must have: otherwise each of its items would be a record of a missing file.
        versions: the driver's; an actor must have the same.
        configure: sets up JAX in the process of an actor.
    """

    method: str
    settings: Mapping[str, Any]
    sizes: Sizes
    folder: Location
    base: Location | None
    needed: Sequence[Location]
    versions: Mapping[str, str]
    configure: Callable[[], None]


@contextlib.contextmanager
def cluster(address: str) -> Iterator[None]:
    """Connects to the cluster; without an address, to that of `RAY_ADDRESS`, or starts one on this machine.

    Raises:
        ConnectionError: no cluster at the address, or one with another version of Ray or Python.
    """
    # "local": otherwise Ray would look for a cluster that was started on this machine, and wait for one that has ended.
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    try:
        if match := re.fullmatch(r"(?:ray://)?(.+):(\d+)", address):
            socket.create_connection((match[1], int(match[2])), timeout=10).close()  # Ray itself tries for 20 minutes
        ray.init(address, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, RuntimeError, ValueError) as error:
        token = "; if it asks for a token, set RAY_AUTH_MODE=token" if "Failed to connect" in str(error) else ""
        raise ConnectionError(f"no Ray cluster at {address}: {' '.join(str(error).split())}{token}") from error
    # Ray prints the traceback of each call that it repeats; they are in its logs, too.
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
        try:
            yield
        finally:
            ray.shutdown()


def run(
    job: Job, network: Any, items: Sequence[Item], pending: Sequence[int], advance: Callable[[int], None]
) -> Iterator[Outcome]:
    """Computes the shards of these numbers on the cluster, and yields in the order in which they are finished.

    Args:
        job: what to compute.
        network: the model; Ray's object store takes it to each node once.
        items: the item at each position of the run.
        pending: the numbers of the shards.
        advance: called with the number of items done.

    Raises:
        OSError: an actor cannot start or dies again and again, or its error. Finished shards stay.
    """
    remote: Any = ray.remote(_Actor)  # its attributes are created at run time
    weights = [ray.put(jax.device_get(network))]  # in a list, so that an actor reads them once
    queue = deque(pending)
    actors: set[Any] = set()
    calls: dict[Any, tuple[Any, int | None]] = {}  # from a result to the actor and the shard, or None for a new actor
    while queue or any(shard is not None for _, shard in calls.values()):
        resources, count = _places()
        while queue and len(actors) < count:
            actor = remote.options(**resources).remote(job)
            actors.add(actor)
            calls[actor.prepare.remote(weights)] = actor, None
        for result in ray.wait(list(calls), timeout=_SECONDS_BETWEEN_LOOKS)[0]:
            actor, shard = calls.pop(result)
            try:
                done = ray.get(result)
            except exceptions.RayError as error:
                _fail(error)
            if shard is not None:
                advance(len(job.sizes.places(shard)))
                yield done
            for following in [queue.popleft() for _ in range(_CALLS if shard is None else 1) if queue]:
                with_places = {place: items[place] for place in job.sizes.places(following)}
                calls[actor.compute.remote(weights, following, with_places)] = actor, following
            if all(busy != actor for busy, _ in calls.values()):
                # Its place goes to an actor whose node died, if that one waits for another node.
                actors.remove(actor)
                ray.kill(actor)


class _Actor:
    """A process that keeps the weights and the compiled program, on one GPU, one TPU host or one core."""

    def __init__(self, job: Job):
        self._job, self._lock = job, threading.Lock()
        self._method: Method | None = None

    @ray.method(max_task_retries=_RETRIES, retry_exceptions=[ConnectionError])
    def prepare(self, weights: list[Any]) -> None:
        self._prepared(weights)

    @ray.method(max_task_retries=_RETRIES, retry_exceptions=[ConnectionError])
    def compute(self, weights: list[Any], shard: int, items: Mapping[int, Item]) -> Outcome:
        job, method = self._job, self._prepared(weights)
        sizes = job.sizes._replace(batch=methods.batch_size(job.method, job.sizes.shard))
        return Work(Shards(job.folder), items, job.base, sizes).run([shard], method, lambda count: None)

    def _prepared(self, weights: list[Any]) -> Method:
        """The method. The weights come with each call, since an actor that Ray starts again needs them again."""
        with self._lock:
            if self._method is None:
                _check(self._job)
                self._job.configure()
                method = methods.of_name(self._job.method, ray.get(weights[0]), self._job.settings)
                self._method = method._replace(start=self._in_turn(method.start))
            return self._method

    def _in_turn(self, start: Callable[..., Any]) -> Callable[..., Any]:
        def in_turn(*batch: Any) -> Any:
            with self._lock:  # else both of the first calls would compile
                return start(*batch)

        return in_turn


def _check(job: Job) -> None:
    node = f"the Ray node {ray.util.get_node_ip_address()}"
    if (found := versions()) != job.versions:
        raise ValueError(f"{node} has {_listed(found)}, and the driver {_listed(job.versions)}; install the same.")
    for needed in job.needed:
        with locations.reaching(needed):
            if not needed.exists():
                raise FileNotFoundError(f"{node} has no {needed}; use a shared folder or an object store.")


def _listed(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def _places() -> tuple[dict[str, Any], int]:
    """The options of an actor, and how many actors the cluster has resources for."""
    total = ray.cluster_resources()
    options = {"max_restarts": _RESTARTS, "max_concurrency": _CALLS}
    if gpus := int(total.get("GPU", 0)):
        return options | {"num_gpus": 1}, gpus
    if chips := max(int(node["Resources"].get("TPU", 0)) for node in ray.nodes()):  # of a host, which has one process
        return options | {"resources": {"TPU": chips}}, int(total["TPU"]) // chips
    # One core for each actor: XLA would otherwise start threads for all cores of the machine.
    environment = {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "1", "NPROC": "1"}
    cores = int(total.get("CPU", 0))
    return options | {"num_cpus": 1, "runtime_env": {"env_vars": environment}}, max(cores, 1)  # 1: a node may join


def _fail(error: exceptions.RayError) -> NoReturn:
    """Raises the error of an actor's code, or one line about an actor that Ray has given up."""
    if isinstance(error, exceptions.RayTaskError):
        raise error.cause from None
    last = [line.strip() for line in str(error).splitlines() if line.strip()][-1]
    raise OSError(
        f"a Ray actor cannot start or has died too often ({last}). Every node needs jaxviz[ray] and enough memory."
    ) from error
