r"""Which wrong backward does each check find, and which right one does it accuse?

The collection in `planted` holds right pairs fwd, bwd, and pairs with one mistake each. Every pair is
shown to every check of `checks`, at arguments drawn anew each time; all checks see the same.

A mistake is caught by a check that complains of it at every draw, sometimes caught by one that does at some.
A complaint of a right pair is a false alarm; they are counted at each draw. An error that is not the check's
own way to complain counts as a complaint, and is counted apart as well. Mistakes as small as the rounding of
a dtype are left out in it. A mistake is named if, at every draw, one of the kinds that ours finds is among
those that the collection has for it; the other checks name none, as their message is only numbers.
The seconds are those of a right pair's first draw, with all compilation. Its other draws and the mistakes in
it find some of the programs compiled; ours takes longer over a mistake, to find out which it is.
"""

from experiments.common.study import Study
from experiments.verifier_comparison import measure, show

STUDY = Study(
    "verifier_comparison",
    measure.Settings,
    measure.measure,
    show.table,
    show.draw,
    show.sentence,
    small="--only 'dropout by a mask' --draws 1",
)
