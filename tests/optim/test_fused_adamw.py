import pytest
import torch
from fairseq import optim
from fairseq.optim import FairseqOptimizer
from fairseq.optim.fp16_optimizer import FP16Optimizer, MemoryEfficientFP16Optimizer
from fairseq_runs import train
from omegaconf import OmegaConf
from toy_corpus import TOY_TRAINING

from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.optim.fused_adamw import FusedAdamW, FusedAdamWConfig

MATRIX, VECTOR = (6, 4), (5,)


def config(**options):
    optimizer = {"_name": "fused_adamw", "adam_betas": "(0.9, 0.95)", "weight_decay": 0.5, "lr": [0.01]} | options
    return OmegaConf.create(
        {
            "optimizer": optimizer,
            "common": {"bf16": True, "model_parallel_size": 1, "fp16_scale_window": 1},
            "optimization": {"update_freq": [1]},
        }
    )


def parameters(dtype=torch.float32):
    torch.manual_seed(0)
    return [torch.nn.Parameter(torch.randn(shape).to(dtype)) for shape in (MATRIX, VECTOR)]


def run(optimizer, params, updates, first=0):
    for update in range(first, first + updates):
        generator = torch.Generator().manual_seed(update)
        loss = sum((p * torch.randn(p.shape, generator=generator).to(p.dtype)).sum() for p in params)
        optimizer.backward(loss) if isinstance(optimizer, FairseqOptimizer) else loss.backward()
        optimizer.step()
        optimizer.zero_grad()


def expected(updates, decays=(0.5, 0.0)):
    params = parameters()
    groups = [{"params": [p], "weight_decay": decay} for p, decay in zip(params, decays, strict=True)]
    run(torch.optim.AdamW(groups, lr=0.01, betas=(0.9, 0.95), foreach=False), params, updates)
    return params


@pytest.mark.parametrize(("options", "decays"), [({}, (0.5, 0.0)), ({"decay_vectors": True}, (0.5, 0.5))])
def test_updates_are_those_of_adamw_and_matrices_alone_decay_by_default(options, decays):
    params = parameters()
    run(optim.build_optimizer(config(**options).optimizer, params), params, 3)
    for ours, theirs in zip(params, expected(3, decays), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_under_bf16_masters_take_the_updates_and_matrices_alone_decay():
    params = parameters(torch.bfloat16)
    optimizer = FP16Optimizer.build_optimizer(config(), params)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.5, 0.0]
    assert [p.shape for group in optimizer.param_groups for p in group["params"]] == [MATRIX, VECTOR]
    run(optimizer, params, 3)
    for half, master in zip(params, optimizer.fp32_params, strict=True):
        assert master.dtype == torch.float32
        assert torch.equal(half, master.bfloat16())


def test_memory_efficient_half_precision_has_moments_in_float32_and_resumes(tmp_path):
    params = parameters(torch.bfloat16)
    optimizer = MemoryEfficientFP16Optimizer.build_optimizer(config(), params)
    run(optimizer, params, 3)
    assert {state["exp_avg"].dtype for state in optimizer.optimizer.state.values()} == {torch.float32}
    torch.save(optimizer.state_dict(), tmp_path / "state")
    again = [torch.nn.Parameter(p.detach().clone()) for p in params]
    resumed = MemoryEfficientFP16Optimizer.build_optimizer(config(), again)
    resumed.load_state_dict(torch.load(tmp_path / "state", weights_only=True), {})
    run(optimizer, params, 3, first=3)
    run(resumed, again, 3, first=3)
    assert all(torch.equal(p, q) for p, q in zip(params, again, strict=True))


def test_overrides_of_the_weight_decay_spare_vectors():
    for decay in (0.5, 0.0):
        optimizer = optim.build_optimizer(config(weight_decay=decay).optimizer, parameters())
        optimizer.load_state_dict(optimizer.state_dict(), {"weight_decay": 0.1, "lr": 0.2})
        groups = [(group["weight_decay"], group["lr"]) for group in optimizer.param_groups]
        assert groups == [(0.1, 0.2), (0.0, 0.2)]


def test_parameters_in_one_vector_cannot_be_told_apart():
    flat = [torch.nn.Parameter(torch.zeros(29))]
    assert FusedAdamW(FusedAdamWConfig(lr=[0.1]), flat).supports_flat_params
    assert FusedAdamW(FusedAdamWConfig(lr=[0.1], weight_decay=0.1, decay_vectors=True), flat).supports_flat_params
    with pytest.raises(UserError, match="--fp16-no-flatten-grads, or --decay-vectors"):
        FusedAdamW(FusedAdamWConfig(lr=[0.1], weight_decay=0.1), flat)


@pytest.mark.parametrize("precision", [[], ["--memory-efficient-bf16"]], ids=["fp32", "memory-efficient bf16"])
def test_a_run_resumes_step_for_step(toy_data, tmp_path, precision):
    options = [option if option != "adam" else "fused_adamw" for option in TOY_TRAINING]
    options += ["--weight-decay", "0.1", "--disable-validation", "--max-update", "4", *precision]
    train(toy_data, *options, "--save-dir", tmp_path / "whole")
    first = [*options, "--save-dir", tmp_path / "parts", "--save-interval-updates", "2"]
    train(toy_data, *first, "--max-update", "2")
    train(toy_data, *first)
    whole, parts = (
        torch.load(tmp_path / name / "checkpoint_last.pt", weights_only=True)["model"] for name in ("whole", "parts")
    )
    assert whole.keys() == parts.keys()
    for name, tensor in whole.items():
        assert torch.equal(tensor, parts[name]), name
