"""What training does on this GPU: speed, share of the card's peak, memory, precision; in under 8 minutes.

    python scripts/bench_gpu.py [--out bench_gpu.json] [--only STAGE ...] [--tiny]

Needs no network; only ``fairseq_train`` draws text and so needs a font. The stages, in the order in which they run:

throughput      the released size in bf16, as fairseq updates it (float32 masters, clipping, fused AdamW): pixels, text
                and pairs, 8, 16 and 32 rows of 1,024 positions, eager and with --compile; the largest kernels
comparison      a LLaMA of the transformers package of the same size, if it is installed, and a step in the published
                style, updated in the same way
finetuning      lengths like RTE's and SST-2's by --max-tokens: float32 with and without TF32, bf16, and compiled
precision       the losses of a small model on the same batches in float32 and in bf16
fairseq_train   a short run of fairseq-train itself on real text: what its loop costs
model_tests     the tests of the model on this device

A stage that fails is reported, and the next goes on; a stage ends early when its time is up. The JSON file is written
after every figure. On a CPU the sizes are tiny: that shows that it runs, and nothing else.
"""

import argparse
import json
import logging
import math
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

SECONDS = {  # that each stage may take, in the order in which they run
    "throughput": 120,
    "comparison": 35,
    "finetuning": 55,
    "precision": 20,
    "fairseq_train": 160,
    "model_tests": 60,
}


def get_parser():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=SECONDS, metavar="STAGE", help=f"of {', '.join(SECONDS)}")
    parser.add_argument("--out", metavar="FILE", help="JSON file for the figures")
    parser.add_argument("--tiny", action="store_true", help="tiny sizes (always on a CPU)")
    parser.add_argument("--seconds", type=float, default=460.0, help="for all stages together (default: 460)")
    return parser


if __name__ == "__main__":
    get_parser().parse_args()  # --help and mistakes do not wait for what follows, which takes seconds to import

import numpy as np
import torch
from fairseq import optim, utils
from fairseq.optim.fp16_optimizer import FP16Optimizer
from omegaconf import OmegaConf

from pixelgpt_fairseq.criterions.patch_token_loss import PatchTokenLoss, PatchTokenLossConfig
from pixelgpt_fairseq.criterions.rendered_classification import (
    RenderedClassificationLoss,
    RenderedClassificationLossConfig,
)
from pixelgpt_fairseq.data.batches import collate
from pixelgpt_fairseq.data.patches import gray_to_rgb_patches, unpatchify
from pixelgpt_fairseq.models.architectures import PixelGPTConfig, complete_config
from pixelgpt_fairseq.models.flops import peak_tflops, training_flops
from pixelgpt_fairseq.models.pixelgpt import PixelGPTModel

ROOT = Path(__file__).resolve().parents[1]
PAD = 2
# Mean and spread of the logarithm of the number of patches of GLUE's examples, about.
FINETUNING = {"RTE": (math.log(110), 0.5), "SST-2": (math.log(19), 0.6)}


class Bench:
    """Options, the report, and what all stages share."""

    def __init__(self, options):
        self.tiny, self.out = options.tiny, options.out
        self.cuda = torch.cuda.is_available()
        self.device = torch.device("cuda" if self.cuda else "cpu")
        self.name = torch.cuda.get_device_name() if self.cuda else "cpu"
        self.size, self.vocabulary, self.length = ("pixelgpt_tiny", 512, 64) if self.tiny else ("pixelgpt", 32000, 1024)
        self.end = time.time() + options.seconds
        self.stage_end = self.end
        self.report = {"device": self.name, "torch": torch.__version__, "peak_tflops": peak_tflops(self.name)}
        self.generator = torch.Generator().manual_seed(0)

    def add(self, stage, text, **figures):
        """Print a line, and keep its figures."""
        print(text, flush=True)
        self.report.setdefault(stage, []).append(figures)
        self.save()

    def save(self):
        """Write the report so far."""
        if self.out:
            Path(self.out).write_text(json.dumps(self.report, indent=1) + "\n")

    def run(self, stage, seconds):
        """Run a stage; a failure is reported and the next stage goes on."""
        print(f"\n== {stage.__name__}", flush=True)
        start = time.time()
        self.stage_end = min(self.end, start + seconds)
        try:
            if self.late():
                raise TimeoutError("no time is left")
            stage(self)
        except Exception as error:  # whatever one stage does, the others are still to be seen
            message = f"{type(error).__name__}: {str(error)[:2000]}"
            self.report.setdefault("failed", {})[stage.__name__] = message
            print(f"FAILED {stage.__name__}: {message}", flush=True)
        self.report.setdefault("seconds", {})[stage.__name__] = round(time.time() - start, 1)
        print(f"-- {stage.__name__}: {time.time() - start:.0f} s", flush=True)
        self.free()
        self.save()

    def left(self):
        """Seconds that the stage may still take."""
        return self.stage_end - time.time()

    def late(self):
        """Whether the stage's time is up."""
        return self.left() <= 0

    def free(self):
        """Forget what was compiled, and give unused memory back."""
        torch._dynamo.reset()
        if self.cuda:
            torch.cuda.empty_cache()

    def synchronize(self):
        """Wait for the GPU."""
        if self.cuda:
            torch.cuda.synchronize()

    def build(self, size=None, dtype=torch.bfloat16, vocabulary=None, **options):
        """A model for training, with the optimizer that fairseq-train would give it."""
        config = PixelGPTConfig(**{name: options.pop(name) for name in ("compile",) if name in options})
        config._name = size or self.size
        torch.manual_seed(0)
        with self.device:
            model = PixelGPTModel(complete_config(config), vocab_size=vocabulary or self.vocabulary, **options)
        model = model.to(dtype).train()
        return model, fairseq_optimizer(model.parameters(), dtype)

    def sample(self, modality, lengths, vocabulary=None, **more):
        """A batch on the device: a row for each ``(patches, tokens)`` of *lengths*."""
        rows = []
        for number, (patches, tokens) in enumerate(lengths):
            row = {"id": number, "modality": modality, **more}
            if patches:
                row["patches"] = torch.randint(256, (patches, 256), dtype=torch.uint8, generator=self.generator)
            if tokens:
                row["tokens"] = torch.randint(3, vocabulary or self.vocabulary, (tokens,), generator=self.generator)
            rows.append(row)
        batch = collate(rows, PAD, strip_patches=max(patches for patches, _ in lengths))
        return self.to_device(batch)

    def to_device(self, batch):
        """As fairseq's trainer does."""
        return utils.move_to_cuda(batch) if self.cuda else batch

    def timed(self, step, steps, warm_up=3):
        """Seconds of a step, and the peak memory in GiB."""
        for _ in range(1 if self.tiny else warm_up):
            step()
        self.synchronize()
        if self.cuda:
            torch.cuda.reset_peak_memory_stats()
        start = time.perf_counter()
        for _ in range(steps):
            step()
        self.synchronize()
        seconds = (time.perf_counter() - start) / steps
        return seconds, torch.cuda.max_memory_allocated() / 2**30 if self.cuda else 0.0

    def measure(self, stage, label, step, positions, flops, steps=None, **figures):
        """Time a step and report it."""
        start = time.time()
        seconds, memory = self.timed(step, steps or (2 if self.tiny else 10))
        peak = self.report["peak_tflops"]
        mfu = flops / seconds / peak / 1e12 if peak else None
        share = f"{mfu:6.1%} of {peak} TFLOP/s" if peak else ""
        self.add(
            stage,
            f"{label:44} {positions / seconds:10,.0f} positions/s {share} {memory:5.1f} GiB",
            **figures,
            positions_per_s=round(positions / seconds),
            mfu=mfu and round(mfu, 4),
            peak_gib=round(memory, 2),
            seconds=round(time.time() - start, 1),
        )
        return positions / seconds


def fairseq_optimizer(parameters, dtype):
    """``--optimizer fused_adamw``, in bf16 with fairseq's float32 masters."""
    optimizer = {"_name": "fused_adamw", "adam_betas": "(0.9, 0.95)", "weight_decay": 0.1, "lr": [1e-4]}
    cfg = {
        "optimizer": optimizer,
        "common": {"bf16": True, "model_parallel_size": 1, "fp16_scale_window": 1},
        "optimization": {"update_freq": [1]},
    }
    cfg, parameters = OmegaConf.create(cfg), list(parameters)
    if dtype == torch.float32:
        return optim.build_optimizer(cfg.optimizer, parameters)
    return FP16Optimizer.build_optimizer(cfg, parameters)


def update(optimizer, loss, sample_size=1.0):
    """Backward and an update, as fairseq's trainer does."""
    optimizer.backward(loss)
    optimizer.multiply_grads(1.0 / sample_size)
    optimizer.clip_grad_norm(1.0)
    optimizer.step()
    optimizer.zero_grad()


def lengths_of(bench, modality, rows):
    """``(patches, tokens)`` of the rows of a batch: full ones, or pairs of random lengths."""
    if modality != "pair":
        return [(bench.length, 0) if modality == "pixel" else (0, bench.length)] * rows
    half = bench.length // 2
    drawn = torch.randint(half // 2, half + 1, (rows, 2), generator=bench.generator)
    drawn[0] = half
    return drawn.tolist()


def flops_of(model, lengths):
    """Operations of a training step on such rows."""
    patches, tokens = (sum(part) for part in zip(*lengths, strict=True))
    squares = sum((p + t) ** 2 for p, t in lengths)
    return training_flops(model, patches, tokens, squares, len(lengths))


def throughput(bench):
    """The released size, all modalities."""
    criterion = PatchTokenLoss(PatchTokenLossConfig(), None).train()
    order = [(True, 16), (False, 16), (True, 32), (False, 32), (False, 8), (True, 8)]
    modalities, profiled = ("pixel", "text", "pair"), [(False, 2, "pixel"), (False, 16, "pixel")]
    profiled += [(True, 16, modality) for modality in modalities]
    for compiled, rows in [(False, 2), (True, 2)] if bench.tiny else order:
        for modality in modalities:
            if bench.late():
                return
            bench.free()
            model, optimizer = bench.build(compile=compiled and bench.cuda)
            lengths = lengths_of(bench, modality, rows)
            sample = bench.sample(modality, lengths)

            def step(model=model, optimizer=optimizer, sample=sample):
                loss, sample_size, _ = criterion(model, sample)
                update(optimizer, loss, sample_size)

            way = "compiled" if compiled else "eager"
            figures = {"modality": modality, "rows": rows, "compiled": compiled}
            try:
                positions = sum(map(sum, lengths))
                label = f"{modality}, {rows} rows, {way}"
                bench.measure("throughput", label, step, positions, flops_of(model, lengths), **figures)
                if (compiled, rows, modality) in profiled:
                    largest_kernels(bench, f"{modality}, {rows} rows, {way}", step)
            except torch.cuda.OutOfMemoryError:
                bench.add("throughput", f"{modality}, {rows} rows, {way}: out of memory", **figures, out_of_memory=True)
            del model, optimizer, sample, step


def largest_kernels(bench, what, step):
    """Print the ten kernels that take most of a step's time."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA if bench.cuda else ProfilerActivity.CPU]) as profiled:
        step()
        bench.synchronize()
    key = "self_device_time_total" if bench.cuda else "self_cpu_time_total"
    events = sorted(profiled.key_averages(), key=lambda event: -getattr(event, key))
    total = sum(getattr(event, key) for event in events) or 1
    kernels = [(event.key[:90], round(getattr(event, key) / total, 4), event.count) for event in events[:10]]
    lines = [f"    {share:6.1%} {count:5} x {name}" for name, share, count in kernels]
    bench.add("kernels", "\n".join(lines), what=what, kernels=kernels, milliseconds=round(total / 1000, 2))


def comparison(bench):
    """Others' ways to the same: a LLaMA of transformers, and the published code's style."""
    model, _ = bench.build()
    lengths = lengths_of(bench, "text", 2 if bench.tiny else 16)
    rows, positions, flops = len(lengths), sum(map(sum, lengths)), flops_of(model, lengths)
    config = model.config
    del model
    try:
        os.environ.setdefault("USE_TF", "0")
        from transformers import LlamaConfig, LlamaForCausalLM
    except Exception as error:  # absent, or unable to import what it finds
        bench.add("comparison", f"no transformers: {error}", missing="transformers")
    else:
        names = "hidden_size num_hidden_layers num_attention_heads num_key_value_heads intermediate_size".split()
        sizes = {name: getattr(config, name) for name in (*names, "max_position_embeddings", "rms_norm_eps")}
        for compiled in (False, True) if bench.cuda else (False,):
            torch.manual_seed(0)
            with bench.device:
                llama = LlamaForCausalLM(LlamaConfig(**sizes, vocab_size=bench.vocabulary, use_cache=False))
            llama = llama.to(torch.bfloat16).train()
            for layer in llama.model.layers if compiled else ():
                layer.compile()
            optimizer = fairseq_optimizer(llama.parameters(), torch.bfloat16)
            tokens = bench.sample("text", lengths)["net_input"]["tokens"]

            def step(llama=llama, optimizer=optimizer, tokens=tokens):
                update(optimizer, llama(input_ids=tokens, labels=tokens).loss)

            way = "compiled" if compiled else "eager"
            figures = {"what": "LLaMA of transformers", "rows": rows, "compiled": compiled}
            bench.measure("comparison", f"LLaMA of transformers, {rows} rows, {way}", step, positions, flops, **figures)
            del llama, optimizer, step
            bench.free()
    if not bench.late():
        published_style(bench)


def published_style(bench):
    """A pixel step computed as the published code does: eager attention, full masks, float pixels."""
    sys.path.insert(0, str(ROOT / "scripts"))
    from bench_pretraining import PublishedStyleModel

    model, optimizer = bench.build()
    lengths = lengths_of(bench, "pixel", 2 if bench.tiny else 4)
    patches = bench.sample("pixel", lengths)["net_input"]["patches"]
    strips = unpatchify(gray_to_rgb_patches(patches)).to(torch.bfloat16) / 255
    in_use = torch.ones(patches.shape[:2], dtype=torch.bool, device=bench.device)
    published = PublishedStyleModel(model)

    def step():
        with bench.device:
            update(optimizer, published(strips, in_use))

    label = f"published style, pixel, {len(lengths)} rows, eager"
    positions = sum(map(sum, lengths))
    bench.measure("comparison", label, step, positions, flops_of(model, lengths), what="published style", steps=3)


def finetuning(bench):
    """Examples of different lengths, in batches of up to so many patches."""
    max_tokens, batches = (256, 2) if bench.tiny else (6144, 8)
    modes = [(torch.float32, True, False), (torch.bfloat16, False, False), (torch.float32, False, False)]
    modes += [(torch.bfloat16, False, True)] if bench.cuda else []
    task = SimpleNamespace(num_labels=2, regression=False, metrics=("accuracy",), languages=())
    criterion = RenderedClassificationLoss(RenderedClassificationLossConfig(), task).train()
    allowed = torch.backends.cuda.matmul.allow_tf32
    for dtype, tf32, compiled in modes:
        bench.free()
        for name, (mean, spread) in FINETUNING.items():
            if bench.late():
                break
            torch.backends.cuda.matmul.allow_tf32 = tf32
            model, optimizer = bench.build(dtype=dtype, num_labels=2, compile=compiled)
            drawn = np.random.default_rng(0).lognormal(mean, spread, 4096)
            drawn = np.sort(drawn.astype(int).clip(4, 200 if bench.tiny else 768))
            ends = np.linspace(256, len(drawn), batches).astype(int)  # from the shortest examples to the longest
            starts = [max(0, end - max_tokens // drawn[end - 1]) for end in ends]
            lengths = [[(int(n), 0) for n in drawn[start:end]] for start, end in zip(starts, ends, strict=True)]
            samples = [bench.sample("pixel", batch, label=1) for batch in lengths]

            def step(model=model, optimizer=optimizer, samples=samples):
                for sample in samples:
                    loss, sample_size, _ = criterion(model, sample)
                    update(optimizer, loss, float(sample_size))

            examples = sum(map(len, lengths))
            seconds, memory = bench.timed(step, 1 if bench.tiny else 2, warm_up=1)
            how = "bf16" if dtype == torch.bfloat16 else "tf32" if tf32 else "fp32"
            how += " compiled" if compiled else ""
            bench.add(
                "finetuning",
                f"{name:6} {how:14} {examples / seconds:8,.0f} examples/s {memory:5.1f} GiB",
                task=name,
                dtype=how,
                compiled=compiled,
                examples_per_s=round(examples / seconds, 1),
                peak_gib=round(memory, 2),
                graphs=torch._dynamo.utils.counters["stats"]["unique_graphs"],
            )
            del model, optimizer, samples, step
    torch.backends.cuda.matmul.allow_tf32 = allowed


def precision(bench):
    """Losses of a small model on the same batches in float32 and in bf16 with float32 masters."""
    updates, vocabulary, curves = (3 if bench.tiny else 200), 512, []
    criterion = PatchTokenLoss(PatchTokenLossConfig(), None).train()
    for dtype in (torch.float32, torch.bfloat16):
        model, optimizer = bench.build("pixelgpt_tiny", dtype, vocabulary)
        bench.generator.manual_seed(1)
        losses = []
        for number in range(updates):
            modality = ("pixel", "text", "pair")[number % 3]
            lengths = {"pixel": [(128, 0)] * 4, "text": [(0, 128)] * 4, "pair": [(64, 50), (40, 64)] * 2}[modality]
            loss, sample_size, _ = criterion(model, bench.sample(modality, lengths, vocabulary))
            losses.append((loss.detach() / sample_size).float())
            update(optimizer, loss, sample_size)
        curves.append(torch.stack(losses).cpu())
    difference = ((curves[0] - curves[1]).abs() / curves[0].abs()).max().item()
    bench.add(
        "precision",
        f"float32 against bf16 over {updates} updates: losses differ by at most {difference:.3%}",
        updates=updates,
        largest_relative_difference=difference,
        last=[curve[-3:].tolist() for curve in curves],
    )


def fairseq_train(bench):
    """fairseq-train on real text, all modalities, with a loader of its own."""
    import pydoc_data.topics

    topics = list(pydoc_data.topics.topics.values())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "train.txt").write_text("\n\n".join(topics[:30] if bench.tiny else topics))
        rendering = ["--train-tokenizer", "1000" if bench.tiny else "4000", "--split", "train"]
        paths = ["--input", folder / "train.txt", "--destdir", folder / "data"]
        command(bench, sys.executable, "scripts/render_corpus.py", *paths, *rendering)
        sizes = "--arch pixelgpt_tiny --tokens-per-sample 64 --batch-size 2 --max-update 6 --cpu".split()
        if not bench.tiny:
            sizes = "--arch pixelgpt --tokens-per-sample 1024 --batch-size 16 --max-update 60 --compile --bf16".split()
        options = (
            "--user-dir pixelgpt_fairseq --task rendered_pretraining --criterion patch_token_loss --clip-norm 1.0 "
            "--optimizer fused_adamw --lr 3e-4 --disable-validation --no-save --num-workers 4 "
            "--log-format json --log-interval 5"
        ).split()
        run = "from fairseq_cli.train import cli_main; cli_main()"
        options += ["--save-dir", folder / "checkpoints"]
        log = command(bench, sys.executable, "-c", run, folder / "data", *options, *sizes)
    lines = [json.loads(found) for found in re.findall(r"train_inner \| (\{.*\})", log)]
    figures = {key: [line.get(key) for line in lines] for key in ("wps", "mfu", "tflops_per_gpu", "train_wall", "loss")}
    bench.add("fairseq_train", f"fairseq-train: wps {figures['wps'][-4:]}, mfu {figures['mfu'][-4:]}", **figures)


def command(bench, *parts, **environment):
    """Run a command in the checkout, with more variables in its environment; returns what it printed."""
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": paths, **environment}
    run = subprocess.run(
        list(map(str, parts)), cwd=ROOT, env=environment, capture_output=True, text=True, timeout=max(5, bench.left())
    )
    output = run.stdout + run.stderr
    if run.returncode:
        raise RuntimeError(output[-1500:])
    return output


def model_tests(bench):
    """The model's own tests, on this device."""
    tests = ["tests/models/test_pixelgpt.py", "tests/models/test_classifier_shortcut.py"]
    if not bench.tiny:
        tests += ["tests/models/test_compilation.py", "tests/criterions/test_linear_cross_entropy.py"]
    try:
        run = [sys.executable, "-m", "pytest", "-q", "-rfE", "-p", "no:cacheprovider"]
        output = command(bench, *run, *tests, PIXELGPT_TEST_DEVICE=bench.device.type)
    except RuntimeError as error:
        bench.add("model_tests", str(error), passed=False, output=str(error))
    else:
        last = output.strip().splitlines()[-1]
        bench.add("model_tests", last, passed=True, output=last)


STAGES = (throughput, comparison, finetuning, precision, fairseq_train, model_tests)


def main(argv=None):
    """Run the stages; returns the report."""
    options = get_parser().parse_args(argv)
    options.tiny = options.tiny or not torch.cuda.is_available()
    bench = Bench(options)
    print(f"{bench.name}, torch {torch.__version__}", flush=True)
    logging.disable(logging.INFO)
    try:
        for stage in STAGES:
            if not options.only or stage.__name__ in options.only:
                bench.run(stage, SECONDS[stage.__name__])
    finally:
        logging.disable(logging.NOTSET)
    if bench.report.get("failed"):
        print(f"failed: {', '.join(bench.report['failed'])}")
    return bench.report


if __name__ == "__main__":
    main()
