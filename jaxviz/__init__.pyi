"""See what an image classifier looks at, what fools it and what it has learned."""

from . import images as images
from . import labels as labels
from ._core.sharding import data_parallel as data_parallel
from ._methods.attacks import fgsm as fgsm
from ._methods.attacks import pgd as pgd
from ._methods.attention_rollout import attention_rollout as attention_rollout
from ._methods.cam import grad_cam as grad_cam
from ._methods.class_visualization import ClassVisualization as ClassVisualization
from ._methods.class_visualization import class_visualizations as class_visualizations
from ._methods.expected_gradients import expected_gradients as expected_gradients
from ._methods.fooling import FoolingResult as FoolingResult
from ._methods.fooling import fooling_images as fooling_images
from ._methods.integrated_gradients import integrated_gradients as integrated_gradients
from ._methods.occlusion import occlusion as occlusion
from ._methods.parametrizations import Parametrization as Parametrization
from ._methods.parametrizations import fourier as fourier
from ._methods.parametrizations import maco as maco
from ._methods.perturbation_curves import PerturbationCurve as PerturbationCurve
from ._methods.perturbation_curves import deletion_curve as deletion_curve
from ._methods.perturbation_curves import insertion_curve as insertion_curve
from ._methods.rise import rise as rise
from ._methods.saliency import saliency_maps as saliency_maps
from ._methods.smooth_grad import smooth_grad as smooth_grad
from ._rewrite.accelerate import accelerate as accelerate
from ._rewrite.layers import Layer as Layer
from ._rewrite.layers import capture as capture
from ._rewrite.layers import layers as layers
from ._rewrite.layers import split as split
from ._rewrite.relu_rules import relu_rule as relu_rule
from .weights import load_model as load_model

__all__ = [
    "ClassVisualization",
    "FoolingResult",
    "Layer",
    "Parametrization",
    "PerturbationCurve",
    "accelerate",
    "attention_rollout",
    "capture",
    "class_visualizations",
    "data_parallel",
    "deletion_curve",
    "expected_gradients",
    "fgsm",
    "fooling_images",
    "fourier",
    "grad_cam",
    "images",
    "insertion_curve",
    "integrated_gradients",
    "labels",
    "layers",
    "load_model",
    "maco",
    "occlusion",
    "pgd",
    "relu_rule",
    "rise",
    "saliency_maps",
    "smooth_grad",
    "split",
]
