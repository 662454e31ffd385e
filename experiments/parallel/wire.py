r"""What a compiled program sends: its collectives, how often each runs, and the bytes that a device sends.

Of a value of b bytes, in a group of n devices, a device sends what the best known algorithms do:

    all-reduce             2 (n - 1)/n b
    all-gather             (n - 1)/n b,    b the whole
    reduce-scatter         (n - 1)/n b,    b the whole
    all-to-all             (n - 1)/n b
    collective-permute     b

It is read from the text of the program, as XLA has optimised it: the dtypes are those on the wire. What is in
the body of a loop runs as often as the loop turns, where XLA knows that; of the branches of a condition every
one counts.
"""

import re
from collections.abc import Iterator
from math import prod
from typing import NamedTuple

KINDS = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")

BYTES = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "s16": 2, "u16": 2, "f32": 4, "s32": 4, "u32": 4,
         "f64": 8, "s64": 8, "u64": 8}  # fmt: skip

COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) .*\{$")
SHAPE = re.compile(r"\b([a-z]+\d*)\[([\d,]*)\]")
STEP = re.compile(r"= (.*?) ([\w\-]+)\(")
CALLED = re.compile(r"(?:body|condition|to_apply|calls|true_computation|false_computation)=%?([\w.\-]+)")
BRANCHES = re.compile(r"branch_computations=\{(.*?)\}")
TURNS = re.compile(r'"known_trip_count":\s*\{"n":\s*"(\d+)"')
GROUPS = (
    re.compile(r"replica_groups=\{\{([\d,]+)\}"),
    re.compile(r"replica_groups=\[\d+,(\d+)\]<="),
    re.compile(r"replica_groups=mesh\[(.*?)\]\s*\{(.*?)\}"),
)


Computations = dict[str, tuple[bool, list[str]]]
"""The lines of each computation by its name, and whether it is the entry."""


class Sent(NamedTuple):
    """A collective of a program: its kind, dtype, size of its group, bytes sent in one run, and runs."""

    kind: str
    dtype: str
    group: int
    bytes: float
    times: int


def sent(program: str, devices: int) -> list[Sent]:
    """The collectives of the text of a program of so many devices, in which more than one takes part."""
    computations = _computations(program)
    (entry,) = (name for name, (is_entry, _) in computations.items() if is_entry)
    return list(_of(entry, 1, computations, devices))


def total(collectives: list[Sent]) -> float:
    """The bytes that a device sends in one run of the program."""
    return sum(c.bytes * c.times for c in collectives)


def counts(collectives: list[Sent]) -> dict[str, int]:
    """How many of each kind run."""
    found: dict[str, int] = {}
    for c in collectives:
        found[c.kind] = found.get(c.kind, 0) + c.times
    return found


def _computations(program: str) -> Computations:
    found: Computations = {}
    lines: list[str] = []
    for line in program.splitlines():
        begins = COMPUTATION.match(line)
        if begins:
            lines = []
            found[begins[2]] = (begins[1] is not None, lines)
        else:
            lines.append(line)
    return found


def _of(name: str, times: int, computations: Computations, devices: int) -> Iterator[Sent]:
    for line in computations[name][1]:
        step = STEP.search(line)
        if step is None:
            continue
        kind = step[2].removesuffix("-start")
        if kind in KINDS:
            one = _sent(kind, step[1], line, devices)
            if one.group > 1:
                yield one._replace(times=times)
            continue
        turns = TURNS.search(line)
        again = times * int(turns[1]) if step[2] == "while" and turns else times
        branches = BRANCHES.search(line)
        called = CALLED.findall(line) + (re.findall(r"[\w.\-]+", branches[1]) if branches else [])
        for other in called:
            if other in computations:
                yield from _of(other, again, computations, devices)


def _sent(kind: str, result: str, line: str, devices: int) -> Sent:
    shapes = SHAPE.findall(result)
    size = sum(BYTES[dtype] * prod(int(n) for n in dims.split(",") if n) for dtype, dims in shapes)
    n = _group(line, devices)
    factor = {
        "all-reduce": 2 * (n - 1) / n,
        "all-gather": (n - 1) / n,
        "reduce-scatter": n - 1,  # its result is a part
        "all-to-all": (n - 1) / n,
        "collective-permute": 1,
    }[kind]
    return Sent(kind, shapes[0][0], n, factor * size, 1)


def _group(line: str, devices: int) -> int:
    """How many devices take part together: the three forms in which XLA writes it."""
    if "source_target_pairs=" in line:
        return devices
    listed, iota, mesh = (form.search(line) for form in GROUPS)
    if listed:
        return len(listed[1].split(","))
    if iota:
        return int(iota[1])
    if mesh:
        sizes = {name: int(size) for name, size in re.findall(r"'(\w+)'=(\d+)", mesh[1])}
        return prod(sizes[name] for name in re.findall(r"'(\w+)'", mesh[2]))
    return devices  # replica_groups={}: all of them
