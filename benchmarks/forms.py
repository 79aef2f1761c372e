"""The forms in which each method is written, and where. Imports no framework: each worker loads its own alone."""

from typing import Any, Literal, NamedTuple

from benchmarks.workloads import Method, Workload


class Form(NamedTuple):
    """One way to do a method's work: `prepare(workload, arrays, folder, **options)` of a module of this folder."""

    name: str
    method: Method
    family: Literal["jaxviz", "jax", "pytorch", "library"]
    module: str
    options: dict[str, Any]
    several_only: bool = False  # with one image it would be the same as another form
    compiles: bool = False  # for want of a compiler it may not run, and then says so instead of failing


_LAYOUTS = ("contiguous", "channels_last")


def _pytorch(method: Method, module: str, name: str, **options: Any) -> list[Form]:
    """The forms that any work may take in PyTorch: one layout, the other, and compiled."""
    return [
        *(Form(f"{name}, {layout}", method, "pytorch", module, {"layout": layout, **options}) for layout in _LAYOUTS),
        Form(
            f"{name}, torch.compile", method, "pytorch", module, {"layout": "torch.compile", **options}, compiles=True
        ),
    ]


def _batched(method: Method, module: str, name: str, **options: Any) -> list[Form]:
    """Batches beside one by one. Not compiled: their sizes change on the way, or the gain is what one by one shows."""
    return [
        Form(f"{name}, {layout}", method, "pytorch", module, {"layout": layout, **options}, several_only=True)
        for layout in _LAYOUTS
    ]


def _jaxviz(method: Method) -> list[Form]:
    return [
        Form("jaxviz", method, "jaxviz", "jax_forms", {"method": method}),
        Form("jaxviz, data_parallel", method, "jaxviz", "jax_forms", {"method": method, "data_parallel": True}),
    ]


FORMS: dict[Method, list[Form]] = {
    "saliency": [
        *_jaxviz("saliency"),
        Form("JAX, plain", "saliency", "jax", "jax_forms", {"method": "plain"}),
        *_pytorch("saliency", "torch_saliency", "PyTorch"),
        Form("captum, Saliency", "saliency", "library", "torch_saliency", {"layout": "contiguous", "captum": True}),
    ],
    "fooling": [
        *_jaxviz("fooling"),
        *_pytorch("fooling", "torch_fooling", "PyTorch, one by one", at_once=1),
        *_batched("fooling", "torch_fooling", "PyTorch, batch without the finished", at_once=32),
        Form("torchattacks, PGDL2", "fooling", "library", "attack_library", {}),
    ],
    "visualization": [
        *_jaxviz("visualization"),
        *_pytorch("visualization", "torch_visualization", "PyTorch"),
        *_batched("visualization", "torch_visualization", "PyTorch, one batch", one_batch=True),
    ],
}
# PyTorch as it comes, which the results of every other form are compared with
REFERENCE: dict[Method, str] = {
    "saliency": "PyTorch, contiguous",
    "fooling": "PyTorch, one by one, contiguous",
    "visualization": "PyTorch, contiguous",
}


def forms_of(workload: Workload) -> list[Form]:
    """The forms of a workload, the reference first."""
    forms = [
        form
        for form in FORMS[workload.method]
        if (workload.examples > 1 or not form.several_only) and (workload.compiled or not form.compiles)
    ]
    return sorted(forms, key=lambda form: form.name != REFERENCE[workload.method])
