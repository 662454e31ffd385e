"""Checks on several devices: a process of its own, which prints the texts of the findings and the notes."""

import json

import jax
import jax.numpy as jnp
import numpy as np

from jax_ref import verify
from tests.verify.layer import NO_SHRINKING, B, W, X, bwd, fwd, reference

jax.config.update("jax_enable_x64", True)

ALONE = NO_SHRINKING | dict.fromkeys(
    ("ladder", "batches", "reference", "linearity", "transforms"), "not looked at here"
)


def by_rows(change):
    """A backward whose `dx` is changed where the batch is not as long as at the example or at the check."""

    def back(res, d):
        dx, dw, db = bwd(res, d)
        return change(dx), dw, db

    return back


def of_the_shard(dx):
    return 2 * dx if dx.shape[0] == 2 else dx  # two examples to each device


def raising(dx):
    if dx.shape[0] == 2:
        raise ValueError("two rows")
    return dx


def normalized(x):
    return (x - x.mean(0, keepdims=True)) ** 2


PAIRS = {
    "right": (fwd, bwd, (X, W, B), reference),
    "of the shard": (fwd, by_rows(of_the_shard), (X, W, B), reference),
    "raises": (fwd, by_rows(raising), (X, W, B), reference),
    "over the batch": (
        lambda x: (normalized(x), x),
        lambda x, d: ((lambda g: g - g.mean(0, keepdims=True))(2 * (x - x.mean(0, keepdims=True)) * d),),
        (X,),
        normalized,
    ),
    "without a batch": (
        lambda x: (jnp.sum(x[:4] ** 2), x),
        lambda x, d: (2 * x * d,),
        (X,),
        lambda x: (x**2).sum(),
    ),
}


def main():
    found = {}
    for name, (forward, backward, args, plain) in PAIRS.items():
        report = verify.check(forward, backward, *args, reference=plain, skip=ALONE)
        found[name] = [[str(f) for f in report.findings], list(report.notes), report.tried]
    skipped = verify.check(
        fwd, by_rows(of_the_shard), X, W, B, reference=reference, skip=ALONE | {"devices": "one is enough"}
    )
    found["skipped"] = [[str(f) for f in skipped.findings], list(skipped.notes), skipped.tried]
    in_float32 = [np.asarray(x, np.float32) for x in (X, W, B)]
    report = verify.check(fwd, bwd, *in_float32, reference=reference, skip=ALONE)
    found["float32"] = [[str(f) for f in report.findings], list(report.notes), report.tried]
    print(json.dumps(found))


if __name__ == "__main__":
    main()
