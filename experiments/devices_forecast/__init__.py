r"""What do the blocks of a decoder send and keep on 8, 64 and 1,024 devices?

Bytes that a device sends in a step, and its memory, by the formulas of `formulas`: of L blocks with P numbers
each, of B examples of T tokens with C features, over n devices,

    kind        bytes / w                               params, state       activations
    data        2 (n-1)/n L P                           all                 of B/n examples
    fsdp        3 (n-1)/n L P                           1/n                 of B/n examples
    tensor      4 L 2 (n-1)/n B T C                     1/n of products     2 C + (4 C + F)/n of a token
    sequence    2 (n-1)/n L P + 5 L (n-1)/n B T C       all                 of T/n tokens
    pipeline    2 (M + n - 1) B/M T C                   L/n blocks          of at most 2 n - 1 microbatches

with w bytes a number, beside the cost, a number that all but tensor sum. In sequence, 5 C are two numbers a
head more, or at most 3 C with fewer heads of the keys. Tests hold the bytes, and the
memory of params and activations, against the compiled programs on 2, 4 and 8 devices, exactly. What is
beside these, as the gathered params of a layer or the buffers of a message, is temporary memory of XLA, and
in no formula; nor are embedding and head, which are no blocks.

B counts the examples of one device for data and fsdp, which share the work by them, and all of them for the
others. "-" is where something does not divide by the devices. Time is in no row: it is bytes over the
bandwidth of a network that this knows nothing of, less what of it is hidden behind computing.
"""

from experiments.common.study import Study
from experiments.devices_forecast import measure, show

STUDY = Study(
    "devices_forecast",
    measure.Settings,
    measure.measure,
    show.table,
    show.draw,
    show.sentence,
    small="--layers 12 --width 768 --heads 12 --context 1024 --devices 4 12",
)
