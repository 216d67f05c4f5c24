"""Reads and writes the tensors of a released folder one at a time, so that memory holds at most one extra tensor.

Reads ``model.safetensors`` and ``pytorch_model.bin``, single or sharded with an index; writes ``model.safetensors``,
byte for byte like the safetensors library.
"""

import json
import pickle
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.storage.files import open_without_following, read_json

# In file order: wide types first, so that every tensor is aligned.
_SAFETENSORS_NAMES = {torch.float64: "F64", torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16"}


class WeightFiles:
    """The tensors of a folder in the released layout.

    Attributes:
        shapes: tensor name -> shape, from the headers of the files.

    Raises:
        UserError: if the folder has no weights, an index names a file that is not there, or a file is damaged or holds
            more than plain tensors of floating-point numbers.
    """

    def __init__(self, folder):
        self._where: dict[str, Path] = {}
        self._loaded: dict[str, Tensor] = {}  # from pytorch_model.bin: mapped, not read
        self.shapes: dict[str, torch.Size] = {}
        for path in _files(Path(folder)):
            if path.suffix == ".safetensors":
                self._open_safetensors(path)
            else:
                self._open_torch(path)
        self.names = sorted(self.shapes)

    def read(self, name: str) -> Tensor:
        """Read the tensor of this name."""
        if name in self._loaded:
            return self._loaded[name].contiguous()
        # Reopened for every tensor: mapped pages count as used memory until the file is closed.
        with safe_open(self._where[name], framework="pt") as file:
            return file.get_tensor(name).clone()

    def _open_safetensors(self, path: Path):
        try:
            with safe_open(path, framework="pt") as file:
                for name in file.keys():  # noqa: SIM118  (not a dict)
                    header = file.get_slice(name)
                    if header.get_dtype() not in _SAFETENSORS_NAMES.values():
                        raise UserError(f"{path}: {name} is of type {header.get_dtype()}, not floating-point numbers")
                    self._where[name], self.shapes[name] = path, torch.Size(header.get_shape())
        except (SafetensorError, OSError) as error:
            raise UserError(f"{path} is damaged or no safetensors file: {error}") from error

    def _open_torch(self, path: Path):
        try:
            try:
                tensors = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
            except RuntimeError:  # files written before torch 1.6 cannot be mapped
                tensors = torch.load(path, map_location="cpu", weights_only=True)
        except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError) as error:
            raise UserError(f"{path} is damaged or holds more than plain tensors; it is not read") from error
        if not isinstance(tensors, dict) or not all(isinstance(tensor, Tensor) for tensor in tensors.values()):
            raise UserError(f"{path} holds more than plain tensors")
        check_plain(tensors, path)
        self._loaded |= tensors
        self.shapes |= {name: tensor.shape for name, tensor in tensors.items()}


def _files(folder: Path) -> list[Path]:
    """The files that hold the weights, in the order of their precedence."""
    for whole in ("model.safetensors", "pytorch_model.bin"):
        if (folder / whole).exists():
            return [folder / whole]
        index = folder / f"{whole}.index.json"
        if index.exists():
            return _shards(index)
    raise UserError(f"{folder} has no weights: neither model.safetensors nor pytorch_model.bin, whole or in shards")


def _shards(index: Path) -> list[Path]:
    weight_map = read_json(index, dict).get("weight_map")
    if not isinstance(weight_map, dict) or not all(isinstance(shard, str) for shard in weight_map.values()):
        raise UserError(f"{index} has no weight_map")
    paths = []
    for shard in sorted(set(weight_map.values())):
        path = index.parent / shard
        if path.parent != index.parent or not path.exists():
            raise UserError(f"{index} names a shard that is not there: {shard}")
        paths.append(path)
    return paths


def check_plain(tensors: dict[str, Tensor], where):
    """Refuse objects that torch.load may return but that do not belong in a weight file.

    Raises:
        UserError: for sparse, meta and expanded tensors, and for integers.
    """
    for name, tensor in tensors.items():
        if not isinstance(name, str) or tensor.layout != torch.strided or tensor.device.type != "cpu":
            raise UserError(f"{where} holds more than plain tensors: {name!r}")
        if tensor.dtype not in _SAFETENSORS_NAMES:
            raise UserError(f"{where}: {name} is of type {tensor.dtype}, not floating-point numbers")
        if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise UserError(f"{where}: {name} is larger than what the file holds of it")


def is_weight_file(name: str) -> bool:
    """Whether a file of this name in a released folder holds weights, or is the index of such files."""
    stem = name.removesuffix(".index.json")
    return stem.startswith(("model", "pytorch_model")) and stem.endswith((".safetensors", ".bin"))


def write_safetensors(tensors: dict[str, Tensor], path: Path) -> Iterator[int]:
    """Write a safetensors file, one tensor at a time.

    The library's own ``save_file`` reports no progress.

    Args:
        tensors: of floating-point numbers; they may be mapped from another file.
        path: the file.

    Yields:
        int: number of bytes of each tensor, after it is written.

    Raises:
        OSError: if it cannot be written.
    """
    types = list(_SAFETENSORS_NAMES)
    names = sorted(tensors, key=lambda name: (types.index(tensors[name].dtype), name))
    header, end = {"__metadata__": {"format": "pt"}}, 0
    for name in names:
        start, end = end, end + tensors[name].numel() * tensors[name].element_size()
        header[name] = {
            "dtype": _SAFETENSORS_NAMES[tensors[name].dtype],
            "shape": list(tensors[name].shape),
            "data_offsets": [start, end],
        }
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb", opener=open_without_following) as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in names:
            content = tensors[name].detach().cpu().contiguous().flatten().view(torch.uint8).numpy()
            file.write(content.data)
            yield content.nbytes
