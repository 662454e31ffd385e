r"""Many devices: the device is one more letter of the sum.

The functions here run inside `jax.shard_map`. s numbers the devices along a mesh axis, and what has the
superscript s lies on device s. A sum over s is a collective, and where its result is wanted says which:

    everywhere                      all_reduce
    in parts, part s on device s    reduce_scatter
    no sum; everybody wants all     all_gather
    no sum; the neighbour wants it  shift

    column    y^s = x w^s                  dw^s = x^T dy^s,    dx = sum_s dy^s w^sT                 `tensor`
    row       y = sum_s x^s w^s + b        dw^s = x^sT dy,     dx^s = dy w^sT,    db = sum_b dy     `tensor`
    data      dw = sum_s x^sT dy^s         with the 1/B of all shards together                      `data`
    FSDP      w = [w^1 .. w^n]             dw^s = (sum_r dw^r)^s                                    `fsdp`
    ring      o_i = sum_j p_ij v_j         dk_j, dv_j travel with k_j, v_j, or dq_i with q_i: home  `sequence`
    norm      m = (1/n) sum_s m^s          dx^s by db = sum_s db^s, dg = sum_s dg^s               `batch_norm`
    private   dw = sum_s sum_b c_b dw_b    with the clip factor c_b of each example, and noise once  `private`
    pipeline  stage s at tick t            forward of t - s, backward of t - 2(S - 1) + s           `pipeline`

Four transposes prove one another: copy and all_reduce, all_gather and reduce_scatter, shift and shift back,
all_to_all and itself (`collectives`). An op of `manual_bp.ops` knows no mesh axis: what is here calls it, and
adds its line.

Leave `check_vma` of `jax.shard_map` as it is, True: then a sum that was forgotten is an error, and one that
is done twice is refused here. Without it a function is as right, and says less.
"""

import importlib
import pkgutil
from types import ModuleType


def __dir__() -> list[str]:
    """The names of the files here."""
    return [module.name for module in pkgutil.iter_modules(__path__)]


def __getattr__(name: str) -> ModuleType:
    """The file of that name, imported when it is first asked for."""
    if name not in __dir__():
        raise AttributeError(f"module {__name__!r} has no {name!r}; it has {', '.join(__dir__())}")
    return importlib.import_module(f"{__name__}.{name}")
