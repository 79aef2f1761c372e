"""See what an image classifier looks at, what fools it and what it has learned."""

from . import images as images
from . import labels as labels
from ._accelerate import accelerate as accelerate
from ._attacks import fgsm as fgsm
from ._attacks import pgd as pgd
from ._class_visualization import ClassVisualization as ClassVisualization
from ._class_visualization import class_visualizations as class_visualizations
from ._data_parallel import data_parallel as data_parallel
from ._fooling import FoolingResult as FoolingResult
from ._fooling import fooling_images as fooling_images
from ._integrated_gradients import integrated_gradients as integrated_gradients
from ._perturbation_curves import Curve as Curve
from ._perturbation_curves import deletion_curve as deletion_curve
from ._perturbation_curves import insertion_curve as insertion_curve
from ._saliency import saliency_maps as saliency_maps
from ._smooth_grad import smooth_grad as smooth_grad
from .weights import load_model as load_model

__all__ = [
    "ClassVisualization",
    "Curve",
    "FoolingResult",
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
