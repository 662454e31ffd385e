"""The formulas of bytes and memory are what the compiled programs send and keep, exactly."""

import pytest

from experiments.devices_forecast import compiled, formulas


@pytest.mark.parametrize(
    "kind",
    [pytest.param(kind, marks=[] if kind == "fsdp" else pytest.mark.slow) for kind in formulas.KINDS],
)
def test_on_four_devices(kind):
    for what, (read, said) in compiled.both(kind, 4).items():
        assert read == said, what
