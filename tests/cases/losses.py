"""Losses: one value for each example."""

from tests.cases.case import FLAT, Draw, Kind, cases


def _pair(d: Draw, lead: tuple[int, ...]) -> tuple:
    return d.real(*lead, 5), d.real(*lead, 5)


CASES = cases(
    {
        "squared_error": [Kind("plain", _pair)],
        "huber": [Kind("plain", _pair), Kind("delta", _pair, {"delta": 0.3}, leads=FLAT)],
        "sigmoid_cross_entropy": [
            Kind("targets", lambda d, lead: (*_pair(d, lead), None)),
            Kind(
                "labels_weighted",
                lambda d, lead: (d.real(*lead, 5), d.labels((*lead, 5), 2), d.real(5)),
                full=True,
            ),
            Kind("targets_weighted", lambda d, lead: (*_pair(d, lead), d.real(5))),
            Kind(
                "booleans",
                lambda d, lead: (d.real(*lead, 5), d.labels((*lead, 5), 2) == 1, None),
                leads=FLAT,
            ),
        ],
        "softmax_cross_entropy": [
            Kind("labels", lambda d, lead: (d.real(*lead, 5), d.labels(lead, 5), None)),
            Kind(
                "labels_and_options",
                lambda d, lead: (d.real(*lead, 5), d.labels(lead, 5), d.real(*lead)),
                {"label_smoothing": 0.1, "z_loss": 1e-2, "ignore_label": 2},
                full=True,
            ),
            Kind("targets", lambda d, lead: (*_pair(d, lead), None)),
            Kind(
                "targets_and_options",
                lambda d, lead: (*_pair(d, lead), d.real(*lead)),
                {"label_smoothing": 0.3, "z_loss": 0.1},
                full=True,
            ),
        ],
    }
)
