"""The words of a report: where it looked, the columns of its table, and its verdicts.

`findings.KINDS` has those in brackets, for what is wrong.
"""

WORDS = {
    "example": "at the values that were given; a leaf of equal entries is drawn anew",
    "equal cotangents": "at the example, all cotangents of the output one number, as behind a sum or a mean",
    "moved": "every value of the example times 1 + 0.3 z, with z drawn anew from a normal distribution",
    "small": "the example's values times a thousandth",
    "large": "at least a thousand in magnitude, with the example's signs",
    "large, negated": "the same with the other signs",
    "saturated": "three quarters of the example's values times thirty, so that what saturates does",
    "offset": "the example's values plus a hundred: digits cancel where means are subtracted",
    "tiny variance": "the example's values drawn towards their mean, to a thousandth of their distance",
    "rounded": "the example's values rounded to multiples of a half, so that there are ties and zeros",
    "zero rows": "the example with about half of its rows zero",
    "opposite signs": "some leaves all positive and others all negative, in the example's magnitudes",
    "large, opposite signs": "the same, at least a thousand in magnitude",
    "distinct integers": "integers of the example's range, each once",
    "distinct integers, sorted": "the same, in ascending order",
    "repeated integers": "two of the example's integers, each several times",
    "repeated integers, sorted": "the same, in ascending order",
    "equal integers": "one of the example's integers everywhere",
    "integers with zeros": "about half of the example's integers zero",
    "integers at both ends": "each integer the least or the largest of the example's",
    "a batch of": "the example's rows repeated and moved, as many as it says",
    "error": "the norm of the distance of a cotangent from the right one, at the point where it is worst",
    "bound": "how large the error may be, by rounding of the arguments and of autodiff in the same dtype",
    "ratio": "the error over the bound; above one is wrong",
    "where": "the point at which the ratio is largest, and the entry that is furthest off there",
    "seen in float64": "at the same values in float64, in which a mistake is told from rounding",
    "right": "within the bound wherever it was looked at",
    "wrong": "further off than the bound, and by more than digits",
    "zero": "right, and zero wherever it was looked at, so that little is known of it",
    "imprecise": "right in float64, and with fewer digits in its dtype than autodiff's own",
    "undecided": "at a kink or a tie, where there is more than one derivative",
    "degenerate": "a gradient that is zero wherever it was looked at",
    "not judged": "a point where nothing is known to be right",
}
"""What the words in a report mean that are not kinds of findings."""
