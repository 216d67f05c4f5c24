"""Sources of translations on their way through fairseq's commands to the model.

fairseq-interactive carries what is typed as one row of ids per line, and nothing else. Here these ids are the text's
characters, so that a strip shows exactly what was typed and the command can print it.
"""

import numpy as np
import torch
from fairseq.data import Dictionary
from torch.nn.utils.rnn import pad_sequence

from pixelgpt_fairseq.data.batches import collate
from pixelgpt_fairseq.data.streams import PAIR
from pixelgpt_fairseq.errors import UserError


class SourceDictionary(Dictionary):
    """The characters of sources: a character's id is its number in Unicode, counted from the end of the target's ids.

    Its padding is the target's, which is what fairseq's commands strip from sources, too.

    Args:
        targets: GenerationDictionary.
    """

    def __init__(self, targets):
        super().__init__()
        self.first, self.pad_index = len(targets), targets.pad()

    def encode(self, text: str) -> torch.Tensor:
        """The ids of *text*: int64 ``[n]``."""
        codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
        return torch.from_numpy(codes.astype(np.int64)) + self.first

    def encode_all(self, texts) -> tuple[torch.Tensor, torch.Tensor]:
        """The ids of *texts*, padded: int64 ``[B, n]``; and their lengths, int64 ``[B]``."""
        rows = [self.encode(text) for text in texts]
        padded = pad_sequence(rows, batch_first=True, padding_value=self.pad_index)
        return padded, torch.tensor([len(row) for row in rows])

    def string(self, tensor, *args, **kwargs) -> str:
        """The text of ids ``[n]``."""
        return "".join(chr(code - self.first) for code in torch.as_tensor(tensor).tolist() if code >= self.first)

    def texts(self, rows) -> list[str]:
        """The texts of ids ``[B, n]``."""
        return [self.string(row) for row in rows]


def prompt_of_samples(sample) -> dict:
    """The prompts of a batch of translations: all that stands before the target's bos; see sequence_generation."""
    net_input = sample["net_input"]
    if "patches" in net_input:
        return {name: net_input.get(name) for name in ("patches", "patch_mask", "strip_patches")}
    lengths = sample["source_tokens"]
    tokens = net_input["tokens"][:, : int(lengths.max())]
    return {"tokens": tokens, "token_mask": torch.arange(tokens.shape[1], device=tokens.device) < lengths.unsqueeze(1)}


def prompt_of_typed(texts, renderer, tokenizer, max_source, strip_patches, device) -> dict:
    """The prompts of texts that were typed.

    Args:
        texts: strings.
        renderer: TextRenderer that draws them; None: they are read as tokens.
        tokenizer: Tokenizer.
        max_source: the most patches or tokens of a source.
        strip_patches: the strip width at which text begins.
        device: of the model.

    Raises:
        UserError: if a text is empty, or longer than *max_source* or the renderer's strips.
    """
    samples = []
    for text in texts:
        if not text.strip():
            raise UserError("an empty line: type the text that is to be read")
        sample = {"id": 0, "modality": PAIR}
        if renderer is None:
            sample["tokens"] = torch.tensor([tokenizer.bos, *tokenizer.encode(text)[0].tolist()])
        else:
            sample["patches"] = torch.from_numpy(renderer(text).patches())
        length, unit = len(sample.get("patches", sample.get("tokens"))), "tokens" if renderer is None else "patches"
        # A renderer cuts what is longer than its strips.
        if length > max_source or (renderer is not None and length == renderer.config.max_patches):
            raise UserError(
                f"a line of {length} {unit} or more: the most is {max_source} (--max-source-positions, "
                "--pair-patches): type less at a time"
            )
        samples.append(sample)
    prompt = collate(samples, tokenizer.eos, strip_patches)["net_input"]
    del prompt["longest_row"]
    if renderer is not None:
        prompt["strip_patches"] = strip_patches
    return {name: value.to(device) if torch.is_tensor(value) else value for name, value in prompt.items()}
