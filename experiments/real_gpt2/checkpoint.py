"""The GPT-2 in the wheel of microformer-mgm, and the names of its tokens; the wheel is not installed."""

import csv
import json
import pickle
from pathlib import PurePosixPath

from experiments.common.errors import UserError
from experiments.data import torch_zip, wheels
from experiments.data.wheels import Wheel
from experiments.real_gpt2 import huggingface
from experiments.real_gpt2.config import Config

WHEEL = Wheel(
    "microformer-mgm==0.5.8",
    "microformer_mgm-0.5.8-py3-none-any.whl",
    "210891685565022ea869e88a7452769dc6fbe3f699d2a133e15338d1e30eb92b",
)
CONFIG = "mgm/resources/general_model/config.json"
TENSORS = "mgm/resources/general_model/pytorch_model.bin"
GENERA = "mgm/resources/phylogeny.csv"

SPECIAL = ("<pad>", "<mask>", "<bos>", "<eos>")
"""The first tokens; the genera follow in the order of their table."""


def load() -> tuple[huggingface.Decoder, list[str]]:
    """The decoder, and the name of each token."""
    config, tensors, genera = wheels.members(WHEEL, [CONFIG, TENSORS, GENERA], "weights")
    path = wheels.cache_folder() / WHEEL.file
    try:
        arrays = torch_zip.tensors(tensors)
        read = Config(path / PurePosixPath(CONFIG), json.loads(config))
        names = [row[0].removeprefix("g__") for row in csv.reader(genera.decode().splitlines()[1:])]
    except (pickle.UnpicklingError, ValueError, IndexError) as error:
        raise wheels.unreadable(WHEEL, "weights", error) from None
    shapes = {name: array.shape for name, array in arrays.items()}
    decoder = huggingface.decoder(read, shapes, arrays.__getitem__)
    tokens = len(decoder.params.embedding.table)
    if len(SPECIAL) + len(names) != tokens:
        raise UserError(f"{path} names {len(names)} genera; expected {tokens - len(SPECIAL)}.")
    return decoder, [*SPECIAL, *names]
