"""TPUs as their maker describes them, for what a program can do at best."""

from typing import NamedTuple


class Chip(NamedTuple):
    """Per chip. `usable_gib` is the part of the memory that the compiler lets a program have, by its own messages."""

    tflops: float  # matrix products in bfloat16
    hbm_gb_s: float
    hbm_gib: float
    usable_gib: float
    source: str


# The bandwidths are those of the pages' editions that say 819 and 1640 GB/s; others say 800 and 1600.
CHIPS = {
    "v5e": Chip(197, 819, 16, 15.75, "https://cloud.google.com/tpu/docs/v5e"),
    "v6e": Chip(918, 1640, 32, 31.24, "https://cloud.google.com/tpu/docs/v6e"),
}
