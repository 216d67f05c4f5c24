"""PixelGPT: one decoder that reads patches, tokens or both, and predicts the next one of each, or a class.

Paper: "Autoregressive Pre-Training on Pixels and Texts" (EMNLP 2024). TextGPT, PixelGPT, MonoGPT and DualGPT are this
model with other training streams. Shapes: B rows, Lp patches, Lt tokens, H hidden size, V vocabulary, P patch side.
"""

import logging
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from fairseq.models import BaseFairseqModel, register_model
from torch import Tensor, nn

from pixelgpt_fairseq.data.patches import NORMALIZED_MSE, patchify, scale_pixels
from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.models import provenance
from pixelgpt_fairseq.models.architectures import (
    PixelGPTConfig,
    check_sizes,
    complete_config,
    register_architectures,
    take_patch_size,
)
from pixelgpt_fairseq.models.cache import KeyValueCache, position_after
from pixelgpt_fairseq.models.decoder import Decoder, Projection
from pixelgpt_fairseq.models.heads import build_head
from pixelgpt_fairseq.models.master_weights import MasterWeights
from pixelgpt_fairseq.models.packing import few_widths, pack, pad_columns, trim

logger = logging.getLogger(__name__)


class PixelGPTOutput(NamedTuple):
    """What a forward gives: predictions for the modalities it was given, or class logits; None for the rest."""

    patch_predictions: Tensor | None = None  # [B, Lp, P * P * C], at position i for patch i + 1
    token_logits: Tensor | None = None  # [B, Lt, V], at position i for token i + 1
    class_logits: Tensor | None = None  # [B, num_labels]
    hidden_states: Tensor | None = None  # [B, Lp + Lt, H], of the last layer, only if asked for


class PatchEmbeddings(nn.Module):
    """Linear projection of a patch's pixels, then LayerNorm.

    The parameters are those of the published convolution (kernel = stride = P); on patches that are cut already, a
    matrix product does its work.
    """

    def __init__(self, config):
        super().__init__()
        size = config.patch_size
        self.projection = nn.Conv2d(config.num_channels, config.hidden_size, size, stride=size)
        self.norm = nn.LayerNorm(config.hidden_size, eps=1e-5)

    def forward(self, patches: Tensor) -> Tensor:
        """``[B, Lp, P * P * C]`` or gray ``[B, Lp, P * P]`` to ``[B, Lp, H]``."""
        weight = self.projection.weight  # [H, C, P, P]
        if patches.shape[-1] == weight[0, 0].numel():
            # Equal values in every channel: adding up the weights first gives the same sum for a third of the work.
            weight = weight.sum(1).flatten(1)
        else:
            weight = weight.permute(0, 2, 3, 1).flatten(1)
        return self.norm(F.linear(scale_pixels(patches, weight.dtype), weight, self.projection.bias))


class PixelTextDecoder(Decoder):
    """The decoder with the embeddings of what it reads (the ``model.`` part of the released tensor names)."""

    def __init__(self, config, uses_patches: bool, token_rows: int | None):
        super().__init__(config)
        if uses_patches:
            self.embed_patches = nn.ModuleDict({"patch_embeddings": PatchEmbeddings(config)})
        if token_rows is not None:
            self.embed_tokens = nn.Embedding(token_rows, config.hidden_size)


@register_model("pixelgpt", dataclass=PixelGPTConfig)
class PixelGPTModel(BaseFairseqModel):
    """Decoder for next patch and next token prediction, or, with *num_labels*, for classification.

    Args:
        config: a :class:`PixelGPTConfig` or anything with its fields; sizes left None are those of the architecture.
        uses_patches: whether the model has a patch embedding and a patch head.
        vocab_size: number of tokens, which with ``config.extra_token_rows`` are the rows of token embedding and head;
            None for a model without tokens.
        num_labels: classes (1: regression); the two prediction heads give way to ``score``.
        data_settings: plain data on how the training data were made, ``{"renderer": {...}, "tokenizer_sha256": "...",
            "pair_patches": W}``; an attribute, which checkpoints keep with the state of the task.

    Raises:
        UserError: if the sizes do not fit together.
    """

    def __init__(
        self,
        config,
        uses_patches: bool = True,
        vocab_size: int | None = None,
        num_labels: int | None = None,
        data_settings: dict | None = None,
    ):
        super().__init__()
        config = complete_config(config)
        check_sizes(config)
        if not uses_patches and vocab_size is None:
            raise UserError("a model must read patches, tokens or both")
        self.config = config
        self.uses_patches, self.vocab_size, self.num_labels = uses_patches, vocab_size, num_labels
        token_rows = None if vocab_size is None else vocab_size + config.extra_token_rows
        self.rounds_widths = False  # on a GPU always: see few_widths
        self.compiled = False
        self.model = PixelTextDecoder(config, uses_patches, token_rows)
        if num_labels is not None:
            self.score = build_head(config, num_labels)
        else:
            if uses_patches:
                values = config.patch_size**2 * config.num_channels
                self.lm_pixel_head = Projection(config.hidden_size, values)
            if vocab_size is not None and not config.tie_word_embeddings:
                self.lm_token_head = Projection(config.hidden_size, token_rows)
        self.data_settings = dict(data_settings or {})
        self.patch_loss = NORMALIZED_MSE  # what predictions of patches are: as the checkpoint or the folder tells
        self._warned_of_half_a_pair = False
        self.checkpoint_settings = None  # data settings of the checkpoint whose weights are loaded next
        self.master_weights = MasterWeights()
        self.apply(self._init_weights)

    @classmethod
    def build_model(cls, cfg, task):
        """Build the model for a task: its modalities, vocabulary, labels and data settings (each optional)."""
        dictionary = getattr(task, "dictionary", None)
        uses_tokens = getattr(task, "uses_tokens", dictionary is not None)
        uses_patches = getattr(task, "uses_patches", True)
        data_settings = getattr(task, "data_settings", None)
        if uses_patches:
            take_patch_size(cfg, data_settings)
        cfg = complete_config(cfg)
        renderer = (data_settings or {}).get("renderer") or {}
        if uses_patches and renderer.get("render_mode") == "rgb" and cfg.num_channels != 3:
            raise UserError(
                f"the data has colors (render mode rgb), a model with --num-channels {cfg.num_channels} reads none: "
                "render the data with --render-mode gray"
            )
        if cfg.tf32:
            torch.backends.cuda.matmul.allow_tf32 = True
        return cls(
            cfg,
            uses_patches=uses_patches,
            vocab_size=len(dictionary) if uses_tokens else None,
            num_labels=getattr(task, "num_labels", None),
            data_settings=data_settings,
        )

    def _init_weights(self, module: nn.Module):
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=self.config.initializer_range)
        elif isinstance(module, nn.Conv2d):
            nn.init.xavier_uniform_(module.weight.view(module.weight.shape[0], -1))
            nn.init.zeros_(module.bias)

    def compile_layers(self, **options):
        """Compile each layer in place, so that parameters keep their names; *options* are those of torch.compile.

        Layers share their code, and so what is compiled: once for the first shape, and once more, for all shapes, when
        others come; all this for training and evaluation each, and for a classifier's last layer.
        """
        # By default torch stops compiling a function at the ninth variant, and runs it slowly from then on.
        torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, 32)
        self.compiled = self.rounds_widths = True
        for layer in self.model.layers:
            layer.compile(**options)

    def upgrade_state_dict_named(self, state_dict: dict, name: str):
        """Fit a loaded state dict to this model before fairseq loads it strictly.

        Raises:
            UserError: if it does not fit. fairseq hides it behind another exception, where its commands find it again
                (:func:`pixelgpt_fairseq.training.startup.user_error_in`).
        """
        super().upgrade_state_dict_named(state_dict, name)
        # Once: what fairseq loads afterwards, as for --store-ema, are weights of this run.
        trained, self.checkpoint_settings = self.checkpoint_settings, None
        provenance.reconcile(self, state_dict, f"{name}." if name else "", trained)

    def state_dict(self, *args, prefix="", **kwargs):
        """As every module, with the float32 weights of training in half precision (``--bf16``, ``--fp16``)."""
        state = super().state_dict(*args, prefix=prefix, **kwargs)
        state.update((prefix + name, weight) for name, weight in self.master_weights.of(self).items())
        return state

    def load_state_dict(self, state_dict, strict=True, model_cfg=None, args=None):
        """As every fairseq model; an optimizer that is built for training in half precision gets them unrounded."""
        result = super().load_state_dict(state_dict, strict, model_cfg, args)
        self.master_weights.loaded(self, state_dict)
        return result

    def connect_optimizer(self, optimizer):
        """Tell the model, before a step of training, which optimizer trains it."""
        self.master_weights.connect(self, optimizer)

    def max_positions(self) -> int:
        """Longest sequence: patches, tokens, or both of a pair together."""
        return self.config.max_position_embeddings

    def forward(
        self,
        patches: Tensor | None = None,
        patch_mask: Tensor | None = None,
        tokens: Tensor | None = None,
        token_mask: Tensor | None = None,
        strip_patches: int | None = None,
        longest_row: int | None = None,
        patch_head: Callable[[Tensor, Tensor], Any] | None = None,
        token_head: Callable[[Tensor, Tensor], Any] | None = None,
        cache: KeyValueCache | None = None,
        return_hidden_states: bool = False,
        **kwargs,
    ) -> PixelGPTOutput:
        """Read patches, tokens, or patches followed by tokens (a pair).

        Args:
            patches: ``[B, Lp, P * P * C]``; or gray ``[B, Lp, P * P]``, meaning the same value in every channel; or
                strips ``[B, C, P, P * Lp]``. Integers are 0..255, floating point is 0..1.
            tokens: ids ``[B, Lt]``.
            patch_mask: ``[B, Lp]``, and *token_mask* ``[B, Lt]``: non-zero = in use; None = all in use. The rest is
                attended by nobody, costs next to nothing, and its predictions are zeros.
            strip_patches: the strip width at which a pair's text positions start, however much of the strip is in use;
                the width of *patches* if None.
            longest_row: positions in use of the longest row, patches and tokens together, where the caller knows it
                (:func:`~pixelgpt_fairseq.data.batches.collate` does) and patches and tokens are no wider than their
                longest. None: both are read off the masks, for which the host has to wait.
            patch_head: what stands in the place of the linear patch head: a function of hidden states ``[B, Lp', H]``
                and the head's weight ``[P * P * C, H]``, whose result the output holds as ``patch_predictions``. Lp' is
                smaller than Lp where no row uses the last columns. So a criterion gets its loss without predictions
                of the whole batch, while data parallelism still sees every parameter used in the forward.
            token_head: likewise, with the weight ``[V, H]``, for ``token_logits``; with ``extra_token_rows`` the weight
                has these rows, too: a padded model was trained with them in its softmax.
            cache: a new one keeps what is read of these rows. Given again, it has what was read of them before: then
                *patches* or *tokens*, without a mask, are what follows in every row, and so are the predictions. The
                first tokens after patches stand at the strip width of the first call.
            return_hidden_states: give the last layer's hidden states instead of predictions; zeros where nothing is in
                use.
            kwargs: ignored, so that a batch may carry more than the model reads.

        Raises:
            UserError: if a position lies beyond the model's limit, the model does not read the modality, a strip is
                longer than *strip_patches*, or a classifier is to be continued.
        """
        if patches is not None and patches.dim() == 4:
            patches = patchify(patches)
        if cache is not None:
            if self.num_labels is not None:
                raise UserError("a classifier predicts no patch and no token that follows: take a language model")
            if cache.columns:
                return self._continue(patches, tokens, cache, patch_head, token_head)
        if self.num_labels is not None and (patches is None or tokens is None):
            self._warn_of_half_a_pair("patches" if tokens is None else "tokens")
        num_patches, num_tokens = (0 if part is None else part.shape[1] for part in (patches, tokens))
        if longest_row is None:
            patches, patch_mask = trim(patches, patch_mask)
            tokens, token_mask = trim(tokens, token_mask)

        if patches is not None and strip_patches is not None and patches.shape[1] > strip_patches:
            raise UserError(
                f"a strip of {patches.shape[1]} patches is longer than the strip width of {strip_patches}, at which "
                "the positions of its text begin: choose a larger width, or cut the strip"
            )

        hidden, positions, masks = [], [], []
        if patches is not None:
            hidden.append(self._embed_patches(patches))
            positions.append(torch.arange(patches.shape[1], device=patches.device))
            masks.append(patch_mask)
        if tokens is not None:
            first = 0 if patches is None else num_patches if strip_patches is None else strip_patches
            hidden.append(self._embed_tokens(tokens))
            positions.append(torch.arange(first, first + tokens.shape[1], device=tokens.device))
            masks.append(token_mask)
            self._check_last_position(first + tokens.shape[1] - 1)
        else:
            self._check_last_position(patches.shape[1] - 1)
        following = None if cache is None else position_after(positions[-1], masks[-1], len(hidden[-1]))
        widths = [part.shape[1] for part in hidden]
        hidden, positions = torch.cat(hidden, dim=1), torch.cat(positions)  # [B, L, H], [L]
        if self.training:
            hidden = hidden + self._zero_of_idle_parameters(patches, tokens)

        packing = None
        if any(mask is not None for mask in masks):
            everywhere = hidden.new_ones(hidden.shape[:2], dtype=torch.bool).split(widths, dim=1)
            in_use = [full if mask is None else mask for mask, full in zip(masks, everywhere, strict=True)]
            in_order = len(widths) == 1 and longest_row is not None
            packing = pack(torch.cat(in_use, dim=1), longest_row, in_order)
            if not in_order:
                hidden, positions = packing.gather(hidden), packing.gather(positions.expand(hidden.shape[0], -1))
        if cache is not None:
            text_start = None if tokens is not None else num_patches if strip_patches is None else strip_patches
            cache.begin(hidden.shape[1], following, None if packing is None else packing.lengths, text_start)
        if self.config.compile and hidden.is_cuda and not self.compiled and cache is None:
            self.compile_layers()
        width = hidden.shape[1]
        if self.rounds_widths or hidden.is_cuda:
            # Padding at the end of a row is attended by nobody.
            padding = few_widths(width) - width
            hidden, positions = pad_columns(hidden, width + padding), F.pad(positions, (0, padding))

        if self.num_labels is not None and not return_hidden_states:
            end = hidden.new_full(hidden.shape[:1], width - 1, dtype=torch.long)
            last = end if packing is None else packing.last()
            return PixelGPTOutput(class_logits=self.score(self.model(hidden, positions, only=last)[:, 0]))
        hidden = self.model(hidden, positions, cache=cache)[:, :width]
        if packing is not None:
            hidden = packing.scatter(hidden, sum(widths))
        parts = iter(hidden.split(widths, dim=1))
        if return_hidden_states:
            wanted = [number for number in (num_patches, num_tokens) if number]
            padded = [pad_columns(part, number) for part, number in zip(parts, wanted, strict=True)]
            return PixelGPTOutput(hidden_states=torch.cat(padded, dim=1))
        patch_predictions = token_logits = None
        if patches is not None:
            patch_predictions = self._predict_patches(next(parts), patch_head, num_patches)
        if tokens is not None:
            token_logits = self._predict_tokens(next(parts), token_head, num_tokens)
        return PixelGPTOutput(patch_predictions, token_logits)

    def _continue(self, patches, tokens, cache, patch_head, token_head) -> PixelGPTOutput:
        """Predictions after what follows in rows that *cache* holds: patches or tokens, the same number in each."""
        if (patches is None) == (tokens is None):
            raise ValueError("rows are continued by patches or by tokens, one after the other")
        hidden = self._embed_patches(patches) if tokens is None else self._embed_tokens(tokens)
        width, text = hidden.shape[1], tokens is not None
        self._check_last_position(cache.next_position(text) + width - 1)
        hidden = self.model(hidden, cache.advance(width, text), cache=cache)
        if text:
            return PixelGPTOutput(token_logits=self._predict_tokens(hidden, token_head, width))
        return PixelGPTOutput(patch_predictions=self._predict_patches(hidden, patch_head, width))

    def _predict_patches(self, hidden: Tensor, patch_head: Callable | None, width: int):
        head = self.lm_pixel_head
        return patch_head(hidden, head.weight) if patch_head else pad_columns(head(hidden), width)

    def _predict_tokens(self, hidden: Tensor, token_head: Callable | None, width: int):
        weight = self._token_head_weight()
        if token_head:
            return token_head(hidden, weight)
        # Rows that are no tokens have no logits: nothing can choose them.
        return pad_columns(F.linear(hidden, weight[: self.vocab_size]), width)

    def _embed_patches(self, patches: Tensor) -> Tensor:
        if not self.uses_patches:
            raise UserError("this model reads no patches: it was built for text alone")
        gray, values = self.config.patch_size**2, patches.shape[-1]
        if values not in (gray, gray * self.config.num_channels):
            side = self.config.patch_size
            raise UserError(
                f"patches of {values} values, the model reads {gray * self.config.num_channels} or {gray}: its patches "
                f"are {side} x {side} pixels"
            )
        return self.model.embed_patches["patch_embeddings"](patches)

    def _embed_tokens(self, tokens: Tensor) -> Tensor:
        if self.vocab_size is None:
            raise UserError("this model reads no tokens: it was built for pixels alone")
        return self.model.embed_tokens(tokens)

    def _token_head_weight(self) -> Tensor:
        return self.model.embed_tokens.weight if self.config.tie_word_embeddings else self.lm_token_head.weight

    def _warn_of_half_a_pair(self, given: str):
        """Warn, once, if this classifier was fine-tuned on pairs: its predictions would not show what is absent."""
        if self.data_settings.get("pair_patches") and not self._warned_of_half_a_pair:
            self._warned_of_half_a_pair = True
            logger.warning(
                f"this model was fine-tuned on pairs of patches and tokens, and is given {given} alone: give it both "
                "for predictions as it was trained to make them"
            )

    def _check_last_position(self, last: int):
        limit = self.config.max_position_embeddings
        if last >= limit:
            raise UserError(f"position {last} is beyond the model's {limit} (--max-position-embeddings)")

    def _zero_of_idle_parameters(self, patches: Tensor | None, tokens: Tensor | None) -> Tensor | float:
        """A zero that gives the parameters of an absent modality zero gradients instead of none.

        Data parallelism waits for every parameter's gradient, and an optimizer treats no gradient otherwise than zero:
        without this, what an update does would depend on the number of workers. Sums over nothing cost nothing and are
        zero whatever the parameters hold.
        """
        idle = []
        if patches is None and self.uses_patches:
            idle += [self.model.embed_patches, getattr(self, "lm_pixel_head", None)]
        if tokens is None and self.vocab_size is not None:
            idle += [self.model.embed_tokens, getattr(self, "lm_token_head", None)]
        return sum((p[:0].sum() for module in idle if module is not None for p in module.parameters()), 0.0)


register_architectures()
