"""Images with several channels from the command line: both engines, running statistics, bad images."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jax_ref
from experiments.train.models import convnet as recipes
from tests.experiments.idx_files import write_folder, write_idx
from tests.experiments.train.test_job import figures, params, run_job, same, trained_in

SMALL = ["--model", "convnet", "--widths", 3, "--batch-size", 7, "--epochs", 2]
EXACT = [*SMALL, "--dtype", "float64", "--schedule", "constant"]


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """IDX files of images with three channels, whose classes differ in brightness."""
    folder, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for split, n in (("train", 30), ("t10k", 9)):
        labels = np.arange(n) % 3
        bright = 60 * labels[:, None, None, None] + rng.integers(0, 100, (n, 5, 4, 3))
        write_idx(folder / f"{split}-images-idx3-ubyte", bright)
        write_idx(folder / f"{split}-labels-idx1-ubyte", labels)
    return folder


@pytest.fixture(scope="module")
def trained(images, tmp_path_factory):
    return trained_in(tmp_path_factory.mktemp("trained"), "--data-dir", images, *EXACT)


def test_both_engines_learn_images_with_channels_alike(trained):
    found = figures(trained.folder)
    assert found["parts"] == ["blocks.0", "head"]
    assert found["max_gradient_difference"] < 1e-13
    assert found["parameter_distance"] < 1e-12
    first, last = (found["history"][i]["engines"] for i in (0, -1))
    assert all(last[engine]["train_loss"] < first[engine]["train_loss"] for engine in last)
    assert (trained.folder / "picture.png").read_bytes()[:4] == b"\x89PNG"


def test_it_is_evaluated_with_the_statistics_of_its_checkpoint(images, trained):
    kept = params(trained.folder)
    settings = recipes.Settings(data_dir=images, dtype="float64", widths=(3,))
    dataset = recipes.load(settings)
    recipe = recipes.recipe(settings, dataset)
    shapes = jax.eval_shape(recipe.init, jax.random.key(0))

    def restored(field, like):
        return jax.tree_util.tree_map_with_path(
            lambda path, _: kept[f"['manual']['{field}']" + _keys(path)], like
        )

    assert recipe.state is not None
    made, state = restored("params", shapes), restored("model", recipe.state(shapes))
    x, labels = dataset.test
    logits, _ = jax_ref.models.convnet.apply(made, state, jnp.asarray(x), norm="frozen_batch_norm")
    log_p = jax.nn.log_softmax(logits)[np.arange(len(x)), labels]
    assert figures(trained.folder)["engines"]["manual"]["test_loss"] == pytest.approx(
        -float(log_p.mean()), rel=1e-12
    )
    assert not np.allclose(state[0][0].mean, 0)


def _keys(path):
    """A path in the names of a checkpoint, where all containers are dictionaries or lists."""
    return "".join(f"['{key.name}']" if hasattr(key, "name") else f"[{key.idx}]" for key in path)


@pytest.mark.slow
def test_it_goes_on_from_its_checkpoint_with_the_statistics_it_had(images, trained, tmp_path):
    given = ["--out", tmp_path, "--data-dir", images]
    assert run_job(*given, *EXACT, "--epochs", 1).returncode == 0
    resumed = run_job(*given, *EXACT, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert same(trained.folder, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_it_learns_in_few_digits(dtype, tmp_path):
    done = run_job("--out", tmp_path, "--model", "convnet", "--dtype", dtype, "--epochs", 4)
    assert done.returncode == 0, done.stderr
    assert all(e["test_accuracy"] > 0.9 for e in figures(tmp_path)["engines"].values())


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["batch_norm", "none"])
def test_default_job(norm, tmp_path):
    done = run_job("--out", tmp_path, "--model", "convnet", "--norm", norm)
    assert done.returncode == 0, done.stderr
    found = figures(tmp_path)
    assert all(e["test_accuracy"] >= 0.97 for e in found["engines"].values())
    assert found["max_gradient_difference"] < 1e-5


def test_images_that_do_not_fit(images, tmp_path):
    for folder, shape in ((tmp_path / "rows", (12,)), (tmp_path / "deep", (2, 2, 3, 1))):
        folder.mkdir()
        write_folder(folder)
        for split, n in (("train", 30), ("t10k", 9)):
            write_idx(folder / f"{split}-images-idx3-ubyte", np.zeros((n, *shape)))
        done = run_job("--out", tmp_path / "out", *SMALL, "--data-dir", folder)
        assert f"The images have shape {shape}; expected height and width, or " in done.stderr
    done = run_job("--out", tmp_path / "out", *SMALL, "--data-dir", images, "--widths", 3, 3, 3)
    assert (
        "--widths was 3 3 3; each of these 3 blocks halves the image, which is 5 x 4, "
        "expected at least 8 x 8." in done.stderr
    )
    done = run_job("--out", tmp_path / "out", *SMALL, "--norm", "batchnorm")
    assert "--norm was 'batchnorm'; did you mean 'batch_norm'?" in done.stderr
