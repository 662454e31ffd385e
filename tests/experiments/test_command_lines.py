"""Command lines that are wrong: one sentence, exit code 2, nothing left behind; and what `--help` says."""

import ast
import importlib
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from unittest import mock

import jax
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import experiments
from experiments.benchmark import command as benchmark
from experiments.common import command_line, commands, errors, extras, memory, options, study
from experiments.common.fields import fields
from experiments.train import job
from experiments.train.models import mlp

ROOT = Path(experiments.__path__[0]).parent
LONG = "a" * 300
STUDIES = {
    name: module.STUDY
    for name in commands.questions()
    if hasattr(module := importlib.import_module(f"experiments.{name}"), "STUDY")
}
SETTINGS = {"train": mlp.Settings, "benchmark": benchmark.Options} | {
    name: found.settings for name, found in STUDIES.items()
}


def run(name, args):
    """A command with a command line, in this process."""
    if name == "train":
        with mock.patch.object(sys, "argv", [name, *args]):
            return job.main()
    return benchmark.main(args) if name == "benchmark" else study.run(STUDIES[name], args)


def refused(name, args, capsys):
    """The sentence by which a command refuses a command line."""
    with (
        jax.numpy_dtype_promotion("standard"),
        jax.numpy_rank_promotion("allow"),
        pytest.raises(SystemExit) as ended,
    ):
        errors.run(lambda: run(name, args))
    jax.config.update("jax_enable_x64", True)
    printed = capsys.readouterr()
    assert ended.value.code == 2, (args, printed)
    assert re.fullmatch(r"error: .*[.?]\n", printed.err), (args, printed.err)
    assert printed.err[:-1].isprintable()
    assert len(printed.err) < 600
    assert printed.out == ""
    return printed.err


@pytest.fixture
def empty(tmp_path, monkeypatch):
    """A folder in which a command is run, and in which nothing may be left."""
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    assert list(tmp_path.iterdir()) == []


WRONG = [
    # seeds and counts
    ("--seed 9223372036854775808", "--seed was 9223372036854775808; expected at least 0 and at most"),
    ("--seed 4294967296", "--seed was 4294967296; expected at least 0 and at most 4294967295"),
    ("--seed -1", "--seed was -1; expected at least 0"),
    ("--seed 1e3", "--seed was 1e3; expected an integer"),
    ("--seed 0x10", "--seed was 0x10; expected an integer"),
    ("--seed ½", "--seed was ½; expected an integer"),
    ("--seed １", "--seed was １; expected an integer"),
    ("--seed 1_000", "--seed was 1_000; expected an integer"),
    ("--seed ' 1'", "--seed was  1; expected an integer"),
    ("--seed ''", "--seed was ''; expected an integer"),
    ("--seed=", "--seed was ''; expected an integer"),
    (f"--seed {'9' * 5000}", "(5000 characters); expected an integer"),
    ("--seed", "--seed: expected 1 argument"),
    ("--seed 1 2", "2 belongs to no option"),
    ("--batch-size 0", "--batch-size was 0; expected at least 1"),
    ("--batch-size 2147483648", "--batch-size was 2147483648; expected at least 1 and at most 2147483647"),
    ("--batch-size 32.0", "--batch-size was 32.0; expected an integer"),
    ("--epochs 99999999999999999999", "--epochs was 99999999999999999999; expected at least 1"),
    ("--epochs None", "--epochs was None; expected an integer"),
    ("--round-steps None", "--round-steps was None; expected an integer"),
    ("--round-steps -3", "--round-steps was -3; expected at least 1"),
    ("--round-steps 4294967296", "--round-steps was 4294967296; expected at least 1"),
    # other numbers
    ("--learning-rate nan", "--learning-rate was nan; expected a number"),
    ("--learning-rate inf", "--learning-rate was inf; expected a number"),
    ("--learning-rate=-inf", "--learning-rate was -inf; expected a number"),
    ("--learning-rate 0", "--learning-rate was 0; expected at least 1e-38"),
    ("--learning-rate -0.1", "--learning-rate was -0.1; expected at least 1e-38"),
    ("--learning-rate -1e-3", "--learning-rate was -1e-3; expected at least 1e-38"),
    ("--weight-decay -.5E+3", "--weight-decay was -.5E+3; expected at least 0"),
    ("--epochs -1e3", "--epochs was -1e3; expected an integer"),
    ("--learning-rate 1e39", "--learning-rate was 1e39; expected at least 1e-38 and at most 1e+38"),
    ("--learning-rate 1e400", "--learning-rate was 1e400; expected at least"),
    ("--learning-rate 1e-50", "--learning-rate was 1e-50; expected at least"),
    ("--learning-rate 0,1", "--learning-rate was 0,1; expected a number"),
    ("--learning-rate 1/3", "--learning-rate was 1/3; expected a number"),
    ("--weight-decay nan", "--weight-decay was nan; expected a number"),
    ("--weight-decay -1", "--weight-decay was -1; expected at least 0"),
    ("--weight-decay 1e39", "--weight-decay was 1e39; expected at least 0"),
    # names
    ("--optimizer adm", "--optimizer was 'adm'; did you mean 'adam'"),
    ("--optimizer ADAM", "--optimizer was 'ADAM'; it can be"),
    ("--optimizer ''", "--optimizer was ''; it can be adagrad"),
    (f"--optimizer {LONG}", "(302 characters); it can be adagrad"),
    ("--optimizer $'ad\\nam'", "--optimizer was 'ad\\nam'; expected text"),
    ("--model ''", "--model was ''; it can be"),
    (f"--model {LONG}", "(302 characters); it can be"),
    ("--model mpl", "--model was 'mpl'; did you mean 'mlp'"),
    ("--model", "--model: expected 1 argument"),
    (f"--data {LONG}", "(302 characters); it can be digits"),
    ("--data ../digits", "--data was '../digits'; did you mean 'digits'"),
    ("--engine autograd", "--engine was 'autograd'; did you mean 'autodiff'"),
    ("--schedule cosin", "--schedule was 'cosin'; did you mean 'cosine'"),
    ("--dtype float8", "--dtype was 'float8'; did you mean 'float"),
    ("--activation relou", "--activation was 'relou'; did you mean 'relu'"),
    ("--output-activation softmax", "--output-activation was 'softmax'; did you mean"),
    ("--loss squard_error", "--loss was 'squard_error'; did you mean 'squared_error'"),
    ("--initializer glorott", "--initializer was 'glorott'; did you mean 'glorot'"),
    # paths
    ("--out ''", "--out was ''; expected a path"),
    ("--out ' '", "--out was  ; expected a path"),
    ("--out", "--out: expected 1 argument"),
    (f"--out {LONG}", "(300 characters); expected a path of at most"),
    (f"--out runs/{LONG}/x", "expected a path of at most"),
    (f"--out {'ü' * 150}", "expected a path of at most"),
    (f"--out {'a/' * 3000}", "(6000 characters); expected a path of at most"),
    ("--out $'a\\nb'", "--out was 'a\\nb'; expected text in UTF-8 without control characters"),
    ("--out $'a\\x1b[31mb'", "--out was 'a\\x1b[31mb'; expected text"),
    ("--out $'a\\0b'", "--out was 'a\\x00b'; expected text"),
    ("--out $'a\\udcffb'", "--out was 'a\\udcffb'; expected text"),
    ("--out /dev/null", "--out /dev/null cannot be written: it is not a folder"),
    ("--out /dev/null/x/y", "--out /dev/null/x/y cannot be written: /dev/null is not a folder"),
    ("--data-dir ''", "--data-dir was ''; expected a path"),
    (f"--data-dir {LONG}", "expected a path of at most"),
    ("--data-dir $'a\\0b'", "--data-dir was 'a\\x00b'; expected text"),
    ("--data-dir nowhere", "--data-dir was nowhere; expected a folder"),
    # the command line itself
    ("--bogus 3", "--bogus is no option"),
    ("--optimzer adam", "--optimzer is no option; did you mean --optimizer?"),
    ("--optim adam", "--optim is no option; did you mean --optimizer?"),
    ("--batchsize 3", "--batchsize is no option; did you mean --batch-size?"),
    ("--batch_size 3", "--batch_size is no option; did you mean --batch-size?"),
    ("--lr 3", "--lr is no option"),
    ("--EPOCHS 3", "--EPOCHS is no option"),
    ("-e 3", "-e is no option"),
    (f"--{LONG}", "(302 characters) is no option"),
    ("stray", "stray belongs to no option"),
    ("-", "- belongs to no option"),
    ("''", "'' belongs to no option"),
    ("--resume=yes", "--resume"),
    ("--resume yes", "yes belongs to no option"),
    ("--no-resume", "--no-resume is no option"),
    ("--resume", "--resume needs --out"),
    ("--out x --resume --overwrite", "--resume and --overwrite exclude each other"),
    ("--out x --resume", "--out x has no checkpoint"),
    # widths and sizes
    ("--widths", "--widths: expected at least one argument"),
    ("--widths 64", "--widths was 64; expected two"),
    ("--widths 64 x", "--widths was x; expected an integer"),
    ("--widths 64 0 10", "--widths was 0; expected at least 1"),
    ("--widths 64 -5 10", "--widths was -5; expected at least 1"),
    ("--widths 64,100,10", "--widths was 64,100,10; expected an integer"),
    ("--widths 63 10", "--widths was 63 10; the first must be 64"),
    ("--widths 64 9", "with 9 outputs. The training label of example"),
    ("--widths 64 9223372036854775808 10", "--widths was 9223372036854775808; expected at least 1"),
    ("--widths 64 1000000000 10", "Training mlp [64, 1000000000, 10] needs 2,100,000,000,296 bytes"),
    ("--widths 64 2147483647 2147483647 10", "needs 129,127,212,965,552,978,164 bytes of memory or more"),
    ("--widths 64 1000000000 --loss squared_error", "A one-hot row of 1000000000 outputs"),
    ("--batch-size 1438", "--batch-size was 1438; the training data has only 1437 examples"),
    ("--epochs 1 --batch-size 2147483647 --round-steps 2147483647", "with --batch-size 2147483647 needs"),
    ("--epochs 2147483647", "--epochs has 94,489,280,468 steps in all; expected at most 2,147,483,647"),
    # rates
    ("--rates fast", "--rates was 'fast'; expected uniform"),
    ("--rates ''", "--rates was ''; expected uniform"),
    ("--rates layers:1", "--rates has 1 numbers; the model has 2 layers"),
    ("--rates layers:1,x", "--rates was layers:1,x; expected numbers"),
    ("--rates none.npz", "--rates: none.npz cannot be read"),
    ("--rates $'a\\0.npz'", "--rates was 'a\\x00.npz'; expected text"),
]  # fmt: skip


def words(line):
    """The arguments of a line, as a shell with $'...' reads it."""
    found = []
    for quoted, plain in re.findall(r"\$'([^']*)'|((?:[^\s']|'[^']*')+)", line):
        found.append(ast.literal_eval(f"'{quoted}'") if quoted else shlex.split(plain)[0])
    return found


@pytest.mark.usefixtures("empty")
@pytest.mark.parametrize(("line", "sentence"), WRONG, ids=[line[:40] for line, _ in WRONG])
def test_the_job_refuses(line, sentence, capsys):
    assert sentence in refused("train", words(line), capsys)


def test_there_are_a_hundred():
    assert len({line for line, _ in WRONG}) == len(WRONG) >= 100


ALL = ["--seed -1", "--seed 4294967296", "--seed 1e3", "--out ''", f"--out {LONG}", "--ot x", "stray"]
EACH = {
    "benchmark": ["--rounds 0", "--rounds 1e1", "--filter gleu", f"--filter {LONG}", "--json ''", "--seed 1"],
    "vanishing": ["--width 1000000000", "--draws 2147483647", "--depths 1", "--activations rel", "--cost x"],
    "saturation": ["--hidden 1000000000", "--hidden 0", "--data mnits", "--learning-rate nan", "--epochs 0"],
    "one_weight": ["--widths 4 1000000000 3 --weight 2 1 1", "--weight 1 2", "--output x", "--cost x"],
    "one_gradient": ["--hidden 1000000000", "--head x", "--vector-widths 4 1000000000", "--rounds 0"],
    "mistakes": ["--steps 2147483647", "--repeats 2147483647", "--only x", "--batch-size 0"],
    "step_size": ["--directions 2147483647", "--kink-steps nan", "--batch-sizes 0", "--examples 2000"],
    "verifier_comparison": ["--draws 0", "--only xyz", "--realistic yes"],
}  # fmt: skip


@pytest.mark.usefixtures("empty")
@pytest.mark.parametrize("name", ["benchmark", *STUDIES])
def test_every_other_command_refuses(name, capsys):
    lines = EACH.get(name, []) + ([] if name == "benchmark" else ALL)
    for line in lines:
        assert refused(name, words(line), capsys)


GOOD = ["--seed 4294967295", "--epochs 1", "--optimizer sgd", "--out run", "--widths 64 8 10", "--overwrite"]
NUMBERS = ["--seed", "--epochs", "--batch-size", "--round-steps", "--learning-rate", "--weight-decay"]
TOKEN = st.text(st.characters(exclude_categories=()), min_size=1, max_size=40)


@st.composite
def wrong(draw):
    """A command line with one mistake among options that are right."""
    right = draw(st.lists(st.sampled_from(GOOD), unique=True, max_size=4))
    number = TOKEN.filter(lambda text: not re.match(r"\s*[-+.\d]", text, re.ASCII) and text != "--help")
    mistake = draw(
        st.one_of(
            st.tuples(st.sampled_from(NUMBERS), number),
            st.tuples(st.sampled_from(NUMBERS), st.sampled_from(["nan", "-1", "1e999", "1__0"])),
            st.tuples(st.sampled_from(["--dtype", "--loss", "--engine", "--data"]), TOKEN),
            st.tuples(
                st.sampled_from(["--out", "--data-dir"]), st.sampled_from(["", LONG, "a\nb", "\udcff", "\0"])
            ),
            TOKEN.filter(lambda text: not text.startswith("-")).map(lambda text: ("--seed", "1", text)),
            TOKEN.map(lambda text: (f"--x{text}",)),
        )
    )
    given = {line.split()[0] for line in right}
    if mistake[0] in given:
        right = [line for line in right if line.split()[0] != mistake[0]]
    at = draw(st.integers(0, len(right)))
    return [*words(" ".join(right[:at])), *mistake, *words(" ".join(right[at:]))]


@pytest.mark.usefixtures("empty")
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(wrong())
def test_what_is_drawn_is_refused(capsys, line):
    refused("train", line, capsys)


@pytest.mark.slow
@pytest.mark.usefixtures("empty")
@settings(max_examples=3000, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(wrong())
def test_whatever_is_drawn_is_refused(capsys, line):
    refused("train", line, capsys)


@pytest.mark.parametrize("name", SETTINGS)
def test_help_lists_all_in_80_columns(name, capsys):
    with pytest.raises(SystemExit) as ended:
        run(name, ["--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    above, _, examples = text.partition("\nexamples:\n")
    assert max(map(len, text.splitlines())) <= 80
    said = " ".join(above.split())
    for field in fields(SETTINGS[name]):
        assert f" {field.option}" in said
        assert f"\n{field.group}:\n" in above
        if isinstance(field.form.limit, options.OneOf):
            assert f"One of {', '.join(sorted(field.form.limit.names))}." in said
    lines = examples.replace("\\\n", "").splitlines()
    assert len(lines) >= 3
    for line in lines:
        command, *args = shlex.split(line)[2:]
        assert command == f"experiments.{name}"
        command_line.parse(SETTINGS[name], prog="", description="", args=args)


def test_the_job_has_its_options_in_groups():
    groups = list(dict.fromkeys(field.group for field in fields(mlp.Settings)))
    assert groups == ["data", "model", "training", "devices", "output"]
    named = {field.name for field in fields(mlp.Settings) if isinstance(field.form.limit, options.OneOf)}
    assert named == {"data", "model", "engine", "optimizer", "schedule", "dtype", "activation",
                     "output_activation", "loss", "initializer", "split"}  # fmt: skip


def test_what_is_given_arrives():
    line = "--widths 64 +8 10 --learning-rate 1E-1 --weight-decay .5 --out=a/b --resume --seed 5 --seed=007"
    found = command_line.parse(mlp.Settings, prog="", description="", args=line.split())
    assert found == mlp.Settings(
        widths=(64, 8, 10), learning_rate=0.1, weight_decay=0.5, out=Path("a/b"), resume=True, seed=7
    )


@pytest.mark.parametrize(
    ("data_dir", "name"),
    [("a/b", "b"), ("a/b/", "b"), (".", "here"), ("a/..", "here"), ("/", "data"), ("a/b\udcff", "b_")],
)
def test_the_data_has_a_name(data_dir, name, tmp_path, monkeypatch):
    """Also where a path ends with none; it goes into the name of the run's folder and the picture's title."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert mlp.Settings(data_dir=Path(data_dir)).source == name
    assert mlp.Settings(data="mnist").source == "mnist"


def test_more_outputs_than_classes_are_told():
    note = mlp.spare_outputs(100, 10)
    assert note == "--widths ends with 100 outputs for 10 classes: 90 are never right."
    assert mlp.spare_outputs(10, 10) == ""


def test_memory_that_is_not_there():
    said = r"^It needs [\d,]+ bytes of memory or more; there are [\d,]+\.$"
    with pytest.raises(errors.UserError, match=said):
        memory.require("It", memory.total() + 1)
    memory.require("It", memory.total())
    for error in (MemoryError(), jax.errors.JaxRuntimeError("INTERNAL: Out of memory allocating 8 bytes.")):
        with pytest.raises(errors.UserError, match="It needs more memory than"), memory.told("It"):
            raise error
    with pytest.raises(jax.errors.JaxRuntimeError), memory.told("It"):
        raise jax.errors.JaxRuntimeError("INTERNAL: another")

    def step(x, _):
        return x + jax.numpy.sum(x[:, None] * x[None, :], 1), None

    def grows(x):
        return jax.lax.scan(step, x, length=3)[0]

    assert memory.largest(grows, jax.ShapeDtypeStruct((1000,), "float32")) == 4 * 1000**2


def test_what_is_imported_is_in_the_extra():
    """Of the packages that the commands import, none is missed by the sentence for a missing one."""
    imported = set()
    for path in Path(experiments.__path__[0]).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                imported.add((node.module or "").partition(".")[0])
    ours = {"experiments", "manual_bp", "jax_ref"}
    assert imported - ours - sys.stdlib_module_names - {"torch"} == set(extras.PACKAGES)


@pytest.mark.parametrize("name", [None, *commands.questions()])
def test_without_the_extra_it_is_named(name, tmp_path):
    """`-S` hides all that is installed."""
    environment = {"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]}
    module = "experiments" if name is None else f"experiments.{name}"
    done = subprocess.run(
        [sys.executable, "-S", "-m", module],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "pip install -e '.[experiments]'" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize(("name", "line"), [("train", "--seed 1e3 --out x"), ("one_weight", "--sed 3")])
def test_a_process_says_it_on_a_terminal_too(name, line, tmp_path):
    """A terminal of its own is what it writes its errors to."""
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-m", f"experiments.{name}", *line.split()],
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=theirs, stderr=theirs, check=False,
    )  # fmt: skip
    os.close(theirs)
    said = os.read(ours, 10000).decode()
    os.close(ours)
    assert done.returncode == 2
    assert said.startswith("error: --se")
    assert said.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
