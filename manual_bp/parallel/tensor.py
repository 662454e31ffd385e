r"""Tensor parallelism: the features of one product, or the rows of a table, over the devices.

Axes: B leading, I features in, O features out, V rows or classes; s numbers the devices, of which each has
the part s of the axis that is split.

    column   y^s_bo = sum_i x_bi w^s_io + b^s_o                     (1)
             dw^s, db^s = the backward of (1) for dy^s              (2)
             dx_bi = sum_s sum_o dy^s_bo w^s_io                     (3)

    row      y_bo = sum_s sum_i x^s_bi w^s_io + b_o                 (4)
             dw^s, dx^s = the backward of the product for dy        (5)
             db_o = sum_b dy_bo, on every device as it is           (6)

    embedding    y_bd = sum_s t^s_{id_b - s V/n, d}, which is zero where the row is another's       (7)
                 dt^s = the backward of (7) for dy, of its own ids alone    (8)

    softmax_cross_entropy    Z_b = log sum_s sum_v e^(x^s_bv)       (9)
                             l_b = Z_b - sum_s x^s_{b, t_b - s V/n} (10)
                             dx^s_bv = dl_b (e^(x^s_bv - Z_b) - [t_b = v + s V/n])      (11)

A column and then a row have one sum forward, (4), and one backward, (3): the features between them stay on
their devices, and what is elementwise needs no other. Several columns of one x share the sum (3): there use
`collectives.copy` and `dense`. The bias of a row is added once, behind the sum.

`params` are those of the op of the same name, each device's part of them: split as `specs` says.

Shoeybi et al. 2019, arXiv:1909.08053.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import lax
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Float, Integer

from manual_bp import checks
from manual_bp.ops import dense
from manual_bp.ops import embedding as table
from manual_bp.parallel import axes, collectives
from manual_bp.precision import accumulator


class _Pair(NamedTuple):
    fwd: Callable[..., tuple[Any, Any]]
    bwd: Callable[..., Any]


class Split(_Pair):
    """A pair `fwd`, `bwd` as an op is, with the static option `axis`, None for one device."""

    def __repr__(self) -> str:
        """The two functions' names, without their places in memory."""
        return f"Split({self.fwd.__name__}, {self.bwd.__name__})"


def _column_fwd(
    params: dense.Params, x: Float[Array, "*B I"], *, axis: str | None
) -> tuple[Float[Array, "*B O"], Float[Array, "*B I"]]:
    """The features of the product that are this device's, of an `x` that is the same on all."""
    axes.check("tensor.column", axis)
    x, _ = collectives.copy.fwd(x, axis=axis)
    return dense.fwd(params, x)  # (1)


def _column_bwd(
    params: dense.Params, x: Float[Array, "*B I"], dy: Float[Array, "*B O"], *, axis: str | None
) -> tuple[dense.Params, Float[Array, "*B I"]]:
    """The cotangents of this device's params, and of `x`."""
    d_params, dx = dense.bwd(params, x, dy)  # (2)
    return d_params, collectives.copy.bwd(None, dx, axis=axis)  # (3)


def _row_fwd(
    params: dense.Params, x: Float[Array, "*B I"], *, axis: str | None
) -> tuple[Float[Array, "*B O"], Float[Array, "*B I"]]:
    """The whole product, of this device's features of `x`; `params.b` is whole."""
    axes.check("tensor.row", axis)
    dense.check("tensor.row", params, x)
    y, _ = dense.fwd(params._replace(b=None), x)
    y, _ = collectives.all_reduce.fwd(y, axis=axis)  # (4)
    if params.b is not None:
        y = y + jnp.broadcast_to(params.b.astype(y.dtype), y.shape)
    return y, x


def _row_bwd(
    params: dense.Params, x: Float[Array, "*B I"], dy: Float[Array, "*B O"], *, axis: str | None
) -> tuple[dense.Params, Float[Array, "*B I"]]:
    """The cotangents of this device's weights, of the whole bias, and of this device's features of `x`."""
    checks.shape("tensor.row", "dy", dy, (*x.shape[:-1], params.w.shape[1]), ", the shape of the output")
    db = None
    if params.b is not None:
        db = jnp.sum(dy, range(dy.ndim - 1), dtype=accumulator(dy.dtype)).astype(params.b.dtype)  # (6)
    d_product, dx = dense.bwd(params._replace(b=None), x, collectives.all_reduce.bwd(None, dy, axis=axis))
    return d_product._replace(b=db), dx  # (5)


def _embedding_fwd(
    params: table.Params, ids: Integer[Array, "*B"], *, axis: str | None
) -> tuple[Float[Array, "*B D"], Integer[Array, "*B"]]:
    """The rows of `ids`, and this device's own of them: numbered from its first row."""
    axes.check("tensor.embedding", axis)
    if axis is None:
        return table.fwd(params, ids)
    checks.params("tensor.embedding", params, table.Params)
    checks.integers("tensor.embedding", ids=ids)
    ids = _wide(ids)
    own, rows = _own(ids, params.table.shape[0], axis)
    is_own = (own >= 0) & (own < rows)
    y, _ = table.fwd(params, jnp.where(is_own, own, 0))
    y = jnp.where(is_own[..., None], y, 0)
    y, _ = collectives.all_reduce.fwd(y, axis=axis)  # (7)
    is_known = (ids >= 0) & (ids < rows * axes.size(axis))
    return jnp.where(is_known[..., None], y, jnp.nan), own


def _embedding_bwd(
    params: table.Params, own: Integer[Array, "*B"], dy: Float[Array, "*B D"], *, axis: str | None
) -> table.Params:
    """The cotangent of this device's rows."""
    return table.bwd(params, own, collectives.all_reduce.bwd(None, dy, axis=axis))  # (8)


class LossResiduals(NamedTuple):
    """The logits, the labels numbered from this device's first class, which of them count, max and sum."""

    logits: Float[Array, "*B V"]
    own: Integer[Array, "*B"]
    counts: Array
    maximum: Float[Array, "*B 1"]
    total: Float[Array, "*B 1"]


def _softmax_cross_entropy_fwd(
    logits: Float[Array, "*B V"],
    labels: Integer[Array, "*B"],
    *,
    axis: str | None,
    ignore_label: int | None = None,
) -> tuple[Float[Array, "*B"], LossResiduals]:
    """The loss of each example, of this device's classes; a label of no device's classes has loss NaN."""
    op = "tensor.softmax_cross_entropy"
    axes.check(op, axis)
    checks.floating(op, logits=logits)
    checks.features(op, logits=logits)
    checks.integers(op, labels=labels)
    checks.shape(op, "labels", labels, logits.shape[:-1], ", one label per example")
    x, labels = logits.astype(accumulator(logits.dtype)), _wide(labels)
    own, classes = _own(labels, x.shape[-1], axis)
    m = jnp.max(x, -1, keepdims=True)
    m = m if axis is None else lax.pmax(m, axis)
    is_own = (own >= 0) & (own < classes)
    at_label = jnp.take_along_axis(x, jnp.clip(own, 0, classes - 1)[..., None], -1) - m
    sums = jnp.concatenate(
        [jnp.sum(jnp.exp(x - m), -1, keepdims=True), jnp.where(is_own[..., None], at_label, 0)], -1
    )
    sums, _ = collectives.all_reduce.fwd(sums, axis=axis)  # one message for (9) and (10)
    total, at_label = sums[..., :1], sums[..., 1]
    loss = jnp.log(total[..., 0]) - at_label  # (10)
    is_known = (labels >= 0) & (labels < classes * axes.size(axis))
    is_ignored = jnp.zeros_like(is_known) if ignore_label is None else labels == ignore_label
    loss = jnp.where(is_ignored, 0, jnp.where(is_known, loss, jnp.nan)).astype(logits.dtype)
    return loss, LossResiduals(logits, own, is_known & ~is_ignored, m, total)


def _softmax_cross_entropy_bwd(
    res: LossResiduals, dloss: Float[Array, "*B"], *, axis: str | None, ignore_label: int | None = None
) -> Float[Array, "*B V"]:
    """The cotangent of this device's logits."""
    logits, own, counts, m, total = res
    checks.per_example("tensor.softmax_cross_entropy", "dloss", dloss, logits)
    x = logits.astype(accumulator(logits.dtype))
    dl = jnp.where(counts, dloss.astype(x.dtype), 0)[..., None]
    classes = lax.broadcasted_iota(own.dtype, x.shape, x.ndim - 1)
    is_label = (classes == own[..., None]).astype(x.dtype)
    return jnp.where(dl == 0, 0, dl * (jnp.exp(x - m) / total - is_label)).astype(logits.dtype)  # (11)


column = Split(_column_fwd, _column_bwd)
row = Split(_row_fwd, _row_bwd)
embedding = Split(_embedding_fwd, _embedding_bwd)
softmax_cross_entropy = Split(_softmax_cross_entropy_fwd, _softmax_cross_entropy_bwd)


def specs(kind: str, params: Any, *, axis: str, size: int) -> Any:
    """How the params of "column", "row" or "embedding" lie on the mesh, as `jax.shard_map` wants it.

    `params` are whole, and `size` that of the mesh axis. Raises `ValueError` where they do not divide.
    """
    op = f"tensor.{kind}"
    checks.choice("tensor.specs", "kind", kind, ["column", "row", "embedding"])
    if kind == "embedding":
        checks.params(op, params, table.Params)
        _check_divides(op, "params.table", params.table, 0, axis, size)
        return params._replace(table=P(axis))
    checks.params(op, params, dense.Params)
    _check_divides(op, "params.w", params.w, 1 if kind == "column" else 0, axis, size)
    of_bias = None if params.b is None else P(axis) if kind == "column" else P()
    return params._replace(w=P(None, axis) if kind == "column" else P(axis), b=of_bias)


def _check_divides(op: str, name: str, x: Any, dim: int, axis: str, size: int) -> None:
    if x.shape[dim] % size:
        raise ValueError(
            f"{op}: {name} has shape {x.shape} before splitting; expected {x.shape[dim]} to divide by "
            f"{size}, the size of mesh axis {axis!r}"
        )


def _wide(ids: Array) -> Array:
    """Ids in a dtype that also holds the number of all rows."""
    return ids.astype(jnp.int64 if ids.dtype.itemsize > 4 else jnp.int32)


def _own(ids: Array, rows: int, axis: str | None) -> tuple[Array, int]:
    """Ids numbered from this device's first row, and how many rows it has."""
    if axis is None:
        return ids, rows
    return ids - jnp.asarray(axes.index(axis), ids.dtype) * rows, rows
