"""The practical's own fooling loop in PyTorch and float64, whose steps tests/golden/torch_fooling.json keeps.

Arguments: the folder of reference data, the file to write.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
import torchvision

import jaxviz

STEP_SIZE, MAX_STEPS = 0.5, 100


def fool(model, image, target):
    """The number of steps, and whether the target was reached."""
    x, steps = image[None], 0
    while True:
        x.requires_grad_()
        scores = model(x)
        fooled = bool(scores.argmax() == target)
        if fooled or steps == MAX_STEPS:
            return steps, fooled
        steps += 1
        (gradient,) = torch.autograd.grad(scores[0, target], x)
        x = (x + STEP_SIZE * gradient / gradient.norm()).detach()


data, output = map(Path, sys.argv[1:])
model = torchvision.models.squeezenet1_1().eval().requires_grad_(False)
model.load_state_dict(torch.load(data / "squeezenet1_1-torchvision.pth", weights_only=True))
images = np.asarray(jaxviz.images.from_uint8(np.load(data / "imagenet_val_25.npz")["X"]))
images = images + 1e-2 * np.random.default_rng(0).standard_normal(images.shape)  # off the ties: see test_reference.py
images = images.astype(np.float32).astype(np.float64)
targets = np.random.default_rng(0).integers(0, 1000, len(images)).tolist()
model = model.double()
pairs = [fool(model, x, t) for x, t in zip(torch.from_numpy(images).permute(0, 3, 1, 2), targets, strict=True)]
steps, fooled = zip(*pairs, strict=True)
output.write_text(json.dumps({"targets": targets, "steps": steps, "fooled": fooled}) + "\n")
