"""See what an image classifier looks at, what fools it and what it has learned."""

from . import images as images
from . import labels as labels
from ._core.sharding import data_parallel as data_parallel
from ._methods.attacks import fgsm as fgsm
from ._methods.attacks import pgd as pgd
from ._methods.class_visualization import ClassVisualization as ClassVisualization
from ._methods.class_visualization import class_visualizations as class_visualizations
from ._methods.fooling import FoolingResult as FoolingResult
from ._methods.fooling import fooling_images as fooling_images
from ._methods.integrated_gradients import integrated_gradients as integrated_gradients
from ._methods.perturbation_curves import PerturbationCurve as PerturbationCurve
from ._methods.perturbation_curves import deletion_curve as deletion_curve
from ._methods.perturbation_curves import insertion_curve as insertion_curve
from ._methods.saliency import saliency_maps as saliency_maps
from ._methods.smooth_grad import smooth_grad as smooth_grad
from ._rewrite.accelerate import accelerate as accelerate
from .weights import load_model as load_model

__all__ = [
    "ClassVisualization",
    "FoolingResult",
    "PerturbationCurve",
    "accelerate",
    "class_visualizations",
    "data_parallel",
    "deletion_curve",
    "fgsm",
    "fooling_images",
    "images",
    "insertion_curve",
    "integrated_gradients",
    "labels",
    "load_model",
    "pgd",
    "saliency_maps",
    "smooth_grad",
]
