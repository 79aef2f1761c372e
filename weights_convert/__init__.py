"""Converts pretrained weights of other frameworks to jaxviz's layout: tables of names and axes for NumPy arrays.

Only this package imports torch, and only inside functions.
"""

from weights_convert.download import official as official
from weights_convert.files import Weights as Weights
from weights_convert.files import read as read
from weights_convert.files import write as write
from weights_convert.sources import caffe as caffe
from weights_convert.sources import torchvision as torchvision

__all__ = ["Weights", "caffe", "official", "read", "torchvision", "write"]
