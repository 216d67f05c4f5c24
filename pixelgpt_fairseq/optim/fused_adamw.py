"""``--optimizer fused_adamw``: PyTorch's AdamW, one kernel for many parameters, as an optimizer of fairseq."""

import ast
from dataclasses import dataclass, field
from typing import Any

import torch
from fairseq.dataclass import FairseqDataclass
from fairseq.optim import FairseqOptimizer, register_optimizer
from omegaconf import II
from torch.optim.adamw import adamw

from pixelgpt_fairseq.errors import UserError

_HALF = (torch.float16, torch.bfloat16)


@dataclass
class FusedAdamWConfig(FairseqDataclass):
    """Options of ``--optimizer fused_adamw``; those of fairseq's ``adam`` have its names."""

    adam_betas: Any = field(default=(0.9, 0.999), metadata={"help": "decay rates of the two moments"})
    adam_eps: float = field(default=1e-8, metadata={"help": "added to the root of the second moment"})
    weight_decay: float = field(default=0.0, metadata={"help": "weight decay, of matrices only"})
    decay_vectors: bool = field(
        default=False, metadata={"help": "decay norms and biases as well, as --optimizer adam does"}
    )
    lr: list[float] = II("optimization.lr")  # noqa: RUF009 (a string)


@register_optimizer("fused_adamw", dataclass=FusedAdamWConfig)
class FusedAdamW(FairseqOptimizer):
    """PyTorch's fused AdamW; norms and biases have no weight decay unless asked for.

    It works in float32, and with ``--bf16``, ``--fp16``, ``--amp`` and the memory-efficient kinds. ``--fp16`` puts all
    parameters into one vector unless ``--fp16-no-flatten-grads`` is given: there matrices cannot be told from vectors.
    """

    def __init__(self, cfg: FusedAdamWConfig, params):
        super().__init__(cfg)
        params = list(params)
        if cfg.weight_decay and not cfg.decay_vectors and len(params) == 1 and params[0].dim() == 1:
            raise UserError(
                "--weight-decay is for matrices, and --fp16 puts all parameters into one vector: pass "
                "--fp16-no-flatten-grads, or --decay-vectors to decay everything"
            )
        decaying = [p for p in params if cfg.decay_vectors or p.dim() > 1]
        others = [p for p in params if not (cfg.decay_vectors or p.dim() > 1)]
        self._spares_vectors = bool(others)
        groups = [{"params": decaying}, {"params": others, "weight_decay": 0.0}]
        self._optimizer = _AdamW([group for group in groups if group["params"]], fused=True, **self.optimizer_config)

    @property
    def optimizer_config(self):
        """Settings that win over those of a checkpoint."""
        betas = self.cfg.adam_betas
        betas = ast.literal_eval(betas) if isinstance(betas, str) else betas
        return {
            "lr": self.cfg.lr[0] if hasattr(self.cfg.lr, "__getitem__") else self.cfg.lr,
            "betas": tuple(float(beta) for beta in betas),
            "eps": self.cfg.adam_eps,
            "weight_decay": self.cfg.weight_decay,
        }

    def load_state_dict(self, state_dict, optimizer_overrides=None):
        """As every optimizer; ``--optimizer-overrides`` of the weight decay are for what decays."""
        super().load_state_dict(state_dict, optimizer_overrides)
        if self._spares_vectors:
            self.param_groups[-1]["weight_decay"] = 0.0


class _AdamW(torch.optim.AdamW):
    """AdamW that updates parameters in half precision by way of float32, one at a time; their moments are float32."""

    supports_memory_efficient_fp16 = True
    supports_flat_params = True

    @torch.no_grad()
    def step(self, closure=None):
        """One update."""
        if not any(p.dtype in _HALF for group in self.param_groups for p in group["params"]):
            return super().step(closure)
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    self._step_in_float32(p, group)
        return loss

    def _step_in_float32(self, p, group):
        state, full = self.state[p], p.float()
        for name in ("exp_avg", "exp_avg_sq"):
            # fairseq hands the moments of a checkpoint over as they were loaded: on the CPU.
            state[name] = state[name].to(full) if name in state else torch.zeros_like(full)
        state["step"] = torch.as_tensor(state.get("step", 0.0), dtype=torch.float32, device=p.device)
        beta1, beta2 = group["betas"]
        adamw(
            [full],
            [p.grad.float()],
            [state["exp_avg"]],
            [state["exp_avg_sq"]],
            [],
            [state["step"]],
            fused=True,
            amsgrad=False,
            beta1=beta1,
            beta2=beta2,
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            maximize=False,
        )
        p.copy_(full)
