"""Adapters through which fairseq's SequenceGenerator drives a PixelGPT model.

The generator expects an encoder, whose output it repeats and reorders by beams, and a decoder that continues it. Here
the encoder reads the *prompt* (a strip, tokens, or both) into a key-value cache, and the decoder adds one token at a
time. A batch's ``net_input["prompt"]`` holds the arguments of the model's forward for all that stands before the first
token that the generator itself puts into each row; they may be empty.
"""

import torch
import torch.nn.functional as F
from fairseq.models import FairseqIncrementalDecoder
from fairseq.ngram_repeat_block import NGramRepeatBlock
from fairseq.sequence_generator import SequenceGenerator
from torch import Tensor, nn

from pixelgpt_fairseq.data.tokens import TokenDictionary
from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.models.cache import KeyValueCache

_COLUMNS_AHEAD = 64  # of the cache, allocated beyond the prompt


class GenerationDictionary(TokenDictionary):
    """A model's tokens, and one more symbol that pads the generator's rows.

    :class:`~pixelgpt_fairseq.data.tokens.TokenDictionary` pads with eos. The generator never chooses padding, so with
    that dictionary no text would ever end.

    Args:
        dictionary: TokenDictionary of the model.
        decode: function from a list of ids to text; None: the symbols are joined by spaces.
    """

    def __init__(self, dictionary: TokenDictionary, decode=None):
        padding = "<pad>"
        while padding in dictionary.indices:
            padding = f"<{padding}>"
        ids = dictionary.unk_index, dictionary.bos_index, dictionary.eos_index
        super().__init__([*dictionary.symbols, padding], *ids)
        self.pad_index, self.pad_word = len(dictionary), padding
        self.decode = decode

    @classmethod
    def of_size(cls, tokens: int, eos: int) -> "GenerationDictionary":
        """The dictionary of a model of so many *tokens* whose tokenizer is not known."""
        return cls(TokenDictionary(map(str, range(tokens)), unk=0, bos=eos, eos=eos))

    def string(self, tensor, bpe_symbol=None, escape_unk=False, extra_symbols_to_ignore=None, *args, **kwargs) -> str:
        """The text of ids ``[n]`` on one line, as the tokenizer puts it together; see fairseq's Dictionary."""
        if self.decode is None:
            return super().string(tensor, bpe_symbol, escape_unk, extra_symbols_to_ignore, *args, **kwargs)
        left_out = {self.pad_index, self.bos_index, self.eos_index, *(extra_symbols_to_ignore or ())}
        ids = [token for token in torch.as_tensor(tensor).tolist() if token not in left_out]
        return " ".join(self.decode(ids).splitlines())


class PromptReader(nn.Module):
    """The generator's encoder: reads prompts into a cache."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward_torchscript(self, net_input: dict) -> KeyValueCache:
        """Read ``net_input["prompt"]``; without patches and tokens, the cache stays empty."""
        prompt = {name: value for name, value in net_input["prompt"].items() if value is not None}
        width = sum(prompt[key].shape[1] for key in ("patches", "tokens") if key in prompt)
        cache = KeyValueCache(capacity=width + _COLUMNS_AHEAD)
        if width:
            self.model(**prompt, cache=cache, patch_head=_predict_nothing, token_head=_predict_nothing)
        return cache

    def reorder_encoder_out(self, cache: KeyValueCache, new_order: Tensor) -> KeyValueCache:
        """Reorder the rows of *cache*, see :meth:`~pixelgpt_fairseq.models.cache.KeyValueCache.reorder`."""
        cache.reorder(new_order)
        return cache


class TokenDecoder(FairseqIncrementalDecoder):
    """The generator's decoder: continues what the cache holds by one token, for each row.

    Attributes:
        ends_after: number of tokens, after which a row has to end, and nothing else is asked of the model; None: the
            model says how likely the end is there, too.
    """

    def __init__(self, model, dictionary: GenerationDictionary):
        super().__init__(dictionary)
        self.model, self.ends_after = model, None

    def forward(self, prev_output_tokens, encoder_out=None, incremental_state=None, **kwargs):
        """Logits ``[B, 1, V + 1]`` after the last of *prev_output_tokens* ``[B, n]``; all others were given before."""
        if prev_output_tokens.shape[1] - 1 == self.ends_after:
            rows, size = len(prev_output_tokens), len(self.dictionary)
            logits = torch.full((rows, 1, size), -torch.inf, device=prev_output_tokens.device)
            logits[:, :, self.dictionary.eos()] = 0.0
            return logits, None
        logits = self.model(tokens=prev_output_tokens[:, -1:], cache=encoder_out).token_logits
        return F.pad(logits.float(), (0, 1), value=-torch.inf), None  # padding is never predicted

    def reorder_incremental_state_scripting(self, incremental_state, new_order):
        """Do nothing: the cache is the encoder's output, and is reordered as such."""


class GenerationModel(nn.Module):
    """A PixelGPT model in the shape that the generator expects.

    Args:
        model: PixelGPTModel.
        dictionary: GenerationDictionary with as many tokens as the model.

    Raises:
        UserError: if the model cannot predict these tokens.
    """

    def __init__(self, model, dictionary: GenerationDictionary):
        super().__init__()
        if model.vocab_size is None:
            raise UserError("this model reads no tokens: it was built for pixels alone, and generates patches only")
        if model.num_labels is not None:
            raise UserError("a classifier predicts no patch and no token that follows: take a language model")
        if model.vocab_size != len(dictionary) - 1:
            raise UserError(
                f"the tokenizer has {len(dictionary) - 1:,} tokens, the model {model.vocab_size:,}: they do not belong "
                "together"
            )
        self.encoder, self.decoder = PromptReader(model), TokenDecoder(model, dictionary)
        self.limit = model.max_positions()

    def get_normalized_probs(self, net_output, log_probs: bool, sample=None) -> Tensor:
        """Log-probabilities, or probabilities, of the decoder's logits."""
        return F.log_softmax(net_output[0], -1) if log_probs else F.softmax(net_output[0], -1)

    def max_decoder_positions(self) -> int:
        """The model's positions; :class:`TokenGenerator` subtracts those of the prompts."""
        return self.limit


class RepeatBlock(NGramRepeatBlock):
    """fairseq's n-gram blocking, applied to the tokens that each row has so far.

    Without its CUDA extension, fairseq looks at the end of the whole buffer, which is padding, and so blocks nothing.
    """

    def __init__(self, size: int):
        super().__init__(size, use_extension=False)

    def forward(self, tokens, lprobs, bsz: int, beam_size: int, step: int):
        """See NGramRepeatBlock."""
        return super().forward(tokens[:, : step + 1], lprobs, bsz, beam_size, step)


class TokenGenerator(SequenceGenerator):
    """fairseq's generator, for prompts that share the positions with what follows.

    Args:
        models: list of GenerationModel.
        dictionary: GenerationDictionary.
        free_end: whether the end of a row that has reached the greatest length costs nothing; else it costs what the
            model gives for eos there.
        options: those of SequenceGenerator.
    """

    def __init__(self, models, dictionary, free_end=False, **options):
        super().__init__(models, dictionary, **options)
        self.free_end, self.positions = free_end, self.max_len
        if self.repeat_ngram_blocker is not None:
            self.repeat_ngram_blocker = RepeatBlock(self.repeat_ngram_blocker.no_repeat_ngram_size)

    def _generate(self, sample, *args, **kwargs):
        prompt = sample["net_input"]["prompt"]
        begin = first_position(prompt)
        room = self.positions - begin
        if room <= self.min_len + 1:
            raise UserError(
                f"the prompt leaves {max(room, 0)} of the model's {self.positions} positions for what is to follow: "
                "shorten it"
            )
        self.max_len = room  # the generator adds at most one token less, and the end
        width = sample["net_input"]["src_tokens"].shape[1]
        for model in self.model.models:
            most = min(int(self.max_len_a * width + self.max_len_b), self.max_len - 1)
            model.decoder.ends_after = most if self.free_end else None
        return super()._generate(sample, *args, **kwargs)


def first_position(prompt: dict) -> int:
    """The position of the first token after the longest of the prompts."""
    patches, tokens = prompt.get("patches"), prompt.get("tokens")
    width = 0
    if patches is not None:
        strip = prompt.get("strip_patches")
        width = patches.shape[1] if strip is None else strip
    return width + (0 if tokens is None else tokens.shape[1])


def _predict_nothing(hidden, weight):
    """A head that computes no predictions."""
