"""The bytes that a compiled TPU program moves to and from HBM, read off its text.

The compiler's own count ("bytes accessed") takes what lies in the chip's own memory (VMEM) with what lies in HBM,
though the one is an order of magnitude faster than the other. Which array lies where stands in the program's layouts:
`S(1)` is VMEM.
"""

import math
import re

_ARRAY = re.compile(r"(\w+)\[([\d,]*)\](?:\{([^}]*)\})?")
_BYTES = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "s16": 2, "u16": 2, "f32": 4, "s32": 4, "u32": 4}
# What moves nothing, or whose bytes are those of the operation that began it
_FREE = {
    "parameter", "bitcast", "tuple", "get-tuple-element", "constant", "while", "conditional", "after-all",
    "copy-done", "slice-done", "partition-id", "iota",
}  # fmt: skip


def hbm_bytes(program: str) -> float:
    """Operands and results in HBM of every operation outside of fusions, a loop's body once."""
    computations = _computations(program)
    total = 0
    for name in _run_as_they_stand(computations):
        sizes: dict[str, int] = {}
        for result, kind, operation, operands, line in computations[name]:
            arrays = _ARRAY.findall(kind)
            sizes[result] = sum(_hbm_size(*array) for array in arrays)
            if operation == "copy-start":
                total += sum(_hbm_size(*array) for array in arrays[:2])  # (the copy, what is copied, ...)
            elif operation == "slice-start":
                total += _size(*arrays[1])  # (what is cut, the piece, ...): from HBM to VMEM or back
            elif operation == "fusion":
                fused = computations[_called(line, "calls")[0]]
                reads = [_read(computations, fused, i, sizes.get(name, 0)) for i, name in enumerate(operands)]
                total += sizes[result] + sum(reads)
            elif operation not in _FREE:
                total += sizes[result] + sum(sizes.get(operand, 0) for operand in operands)
    return float(total)


# Result, type, operation, operands, and the whole line
_Instruction = tuple[str, str, str, list[str], str]


def _computations(program: str) -> dict[str, list[_Instruction]]:
    found, current = {}, []
    for line in program.splitlines():
        if match := re.match(r"(ENTRY )?(%[\w.\-]+) \(.*\{$", line):
            current = found["entry" if match[1] else match[2]] = []
        elif line.startswith("  ") and " = " in line:
            result, text = re.sub(r"^ROOT |/\*.*?\*/", "", line.strip()).split(" = ", 1)
            current.append((result, *_parsed(text), line))
    return found


def _run_as_they_stand(computations: dict[str, list[_Instruction]]) -> set[str]:
    """The entry, the bodies of loops and the branches; the other computations are parts of fusions and reductions."""
    reached, waiting = set(), ["entry"]
    while waiting:
        name = waiting.pop()
        reached.add(name)
        for *_, line in computations[name]:
            called = _called(line, "body|true_computation|false_computation|branch_computations")
            waiting += [name for name in called if name not in reached]
    return reached


def _read(computations: dict[str, list[_Instruction]], fused: list[_Instruction], index: int, size: int) -> int:
    """The bytes that a fusion reads of an operand: of one that is only cut into pieces, the pieces."""
    [parameter] = [result for result, *_, line in fused if f" parameter({index})" in line]
    pieces = 0
    for _, kind, operation, operands, line in fused:
        for i, operand in enumerate(operands):
            if operand == parameter and operation == "slice":
                pieces += _size(*_ARRAY.findall(kind)[0])
            elif operand == parameter and operation == "fusion":
                pieces += _read(computations, computations[_called(line, "calls")[0]], i, size)
            elif operand == parameter:
                pieces += size
    return min(pieces, size)


def _called(line: str, kind: str) -> list[str]:
    """The computations that an operation calls as its `kind=%name` or `kind={%name, %name}`."""
    found = re.findall(rf"(?:{kind})=\{{?((?:%[\w.\-]+(?:, )?)+)", line)
    return [name for names in found for name in names.split(", ") if name]


def _parsed(text: str) -> tuple[str, str, list[str]]:
    """The type, the operation and the operands of "type operation(operands), ..."."""
    end = _closing(text) if text.startswith("(") else text.index(" ")
    operation, rest = text[end:].strip().split("(", 1)
    return text[:end], operation, re.findall(r"%[\w.\-]+", rest[: _closing("(" + rest) - 1])


def _closing(text: str) -> int:
    """Just behind the bracket that closes the first."""
    depth = 0
    for i, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if depth == 0:
            return i + 1
    raise ValueError(f"no closing bracket in {text}")


def _hbm_size(kind: str, dimensions: str, layout: str) -> int:
    """The bytes of an array, 0 where it lies in VMEM or elsewhere on the chip."""
    return 0 if re.search(r"S\(\d+\)", layout) else _size(kind, dimensions, layout)


def _size(kind: str, dimensions: str, layout: str) -> int:
    """The bytes of an array with its padding to whole tiles."""
    sizes = [int(size) for size in dimensions.split(",") if size]
    if tile := re.search(r"T\(([\d,]+)\)", layout):
        order = [int(axis) for axis in layout.split(":")[0].split(",") if axis]
        sizes = [sizes[axis] for axis in reversed(order)]
        for i, extent in enumerate(reversed([int(part) for part in tile[1].split(",")]), start=1):
            if i <= len(sizes):
                sizes[-i] = -(-sizes[-i] // extent) * extent
    return math.prod(sizes) * _BYTES.get(kind, 0)
