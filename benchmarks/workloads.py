"""The work that is timed, and its settings. Imports no framework."""

from typing import Literal, NamedTuple

Method = Literal["saliency", "fooling", "visualization"]

# The defaults of jaxviz, which the other forms are given too
FOOLING_STEP, CLIMBING_STEP = 0.5, 5.0
L2_WEIGHT, MAX_JITTER, BLUR_EVERY, BLUR_SIGMA = 1e-3, 16, 10, 0.5
SEED = 0
# as in jaxviz.images, without its imports
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Workload(NamedTuple):
    """`examples` images of `size` pixels squared, at most `steps` updates each, timed `repeats` times."""

    name: str
    method: Method
    repeats: int
    examples: int
    network: Literal["squeezenet1_1", "vgg16"] = "squeezenet1_1"
    size: int = 224
    steps: int = 1
    compiled: bool = False  # torch.compile too, which takes a minute or two to compile


FULL = (
    Workload("saliency, 1 image", "saliency", 15, 1, compiled=True),
    Workload("saliency, 2 images", "saliency", 11, 2),
    Workload("saliency, 4 images", "saliency", 11, 4),
    Workload("saliency, 8 images", "saliency", 11, 8),
    Workload("saliency, 16 images", "saliency", 9, 16),
    Workload("saliency, 32 images", "saliency", 9, 32, compiled=True),
    Workload("saliency, 64 images", "saliency", 5, 64),
    Workload("saliency, 128 images", "saliency", 5, 128),
    Workload("saliency, 8 images of 160 pixels", "saliency", 7, 8, size=160),
    Workload("saliency, 8 images of 320 pixels", "saliency", 7, 8, size=320),
    Workload("saliency, 8 images of 448 pixels", "saliency", 7, 8, size=448),
    Workload("VGG16 saliency, 8 images", "saliency", 5, 8, network="vgg16"),
    Workload("fooling, 64 images", "fooling", 3, 64, steps=100),
    Workload("class visualization, 1 class, 200 steps", "visualization", 5, 1, steps=200),
    Workload("class visualization, 8 classes, 200 steps", "visualization", 3, 8, steps=200),
    Workload("VGG16 class visualization, 1 class, 50 steps", "visualization", 3, 1, network="vgg16", steps=50),
)
QUICK = (
    Workload("saliency, 1 image", "saliency", 5, 1),
    Workload("saliency, 8 images", "saliency", 5, 8),
    Workload("fooling, 8 images", "fooling", 2, 8, steps=100),
    Workload("class visualization, 1 class, 20 steps", "visualization", 3, 1, steps=20),
)
