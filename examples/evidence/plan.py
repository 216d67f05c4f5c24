"""The stages of the evidence: which commands show what pretraining brings, and which need which."""

import sys
from pathlib import Path

from budgets import MODALITIES, REGIMES, Budget
from jobs import Stage

HERE = Path(__file__).resolve().parent
USER_DIR = HERE.parents[1] / "pixelgpt_fairseq"
TRAIN = str(Path(sys.executable).parent / "fairseq-train")
PIXELGPT = (sys.executable, "-m", "pixelgpt_fairseq.cli.main")
SCRATCH = "scratch"  # the point before any update of pretraining
LONG = "long"  # in the names of runs that are fine-tuned for longer
CHOOSES = {"sst2": "accuracy", "rte": "accuracy", "cola": "matthews_correlation"}
ATTACKED_TRAINING = 0.5  # severity


class Evidence:
    """The stages of one budget.

    Args:
        budget: Budget.
        glue_dir, xnli_dir: folders of GLUE's and XNLI's files; *xnli_dir* may be None.
        work: Path of the folder for all that is made.
        report: Path of the folder of the tables and plots.
    """

    def __init__(self, budget: Budget, glue_dir, xnli_dir, work, report):
        self.budget, self.glue_dir, self.xnli_dir, self.work, self.report = budget, glue_dir, xnli_dir, work, report
        self.pace = budget.pace
        device = ["--tf32", "--compile", "--num-workers", 4] if budget.gpu else ["--cpu", "--num-workers", 0]
        self.common = ["--user-dir", USER_DIR, *device, "--bf16", "--log-format", "simple", "--log-interval", 10]
        self.stages = []

    def plan(self) -> list[Stage]:
        """All stages, each after those that it needs."""
        self.prepare_data()
        self.pretrain()
        self.compare_regimes()
        for point in self.points():
            self.read(point)
        for task in self.budget.tasks:
            self.finetune_all(task)
        self.attack()
        everything = [stage.name for stage in self.stages]
        options = ["--work", self.work, "--output", self.report]
        self.add("figures", [sys.executable, HERE / "figures.py", *options], everything, 20)
        return self.stages

    def add(self, name, command, needs, seconds, updates=0, keep=None):
        """Add a stage; returns its name."""
        self.stages.append(Stage(name, tuple(map(str, command)), tuple(needs), seconds, updates, keep))
        return name

    def points(self, sentences=True):
        """The numbers of updates after which the DualGPT is looked at: of both parts, or those of the first."""
        lines = self.budget.line_updates
        return lines + tuple(lines[-1] + updates for updates in self.budget.sentence_updates if sentences)

    def checkpoint(self, updates):
        """The DualGPT after so many updates."""
        return self.work / "pretrained" / f"{updates}.pt"

    def prepare_data(self):
        """Text, and data folders: its sentences, its lines of a few words, and the tasks."""
        budget, text, tokenizer = self.budget, self.work / "text", self.work / "sentences" / "tokenizer.model"
        options = ["--glue-dir", self.glue_dir, "--packages", *budget.packages, "--most-mb", budget.most_mb]
        options += ["--most-lines", budget.most_lines, "--output", text]
        if self.xnli_dir:
            options += ["--xnli-dir", self.xnli_dir]
        self.add("corpus", [sys.executable, HERE / "corpus.py", *options], (), self.pace["corpus"])
        for folder, file, split, needs, more in (
            ("sentences", "train", "train", "corpus", ("--train-tokenizer", budget.vocabulary)),
            ("sentences", "valid", "valid", "sentences-train", ()),
            ("lines", "train_lines", "train", "sentences-train", ("--tokenizer", tokenizer)),
            ("lines", "valid_lines", "valid", "lines-train", ("--tokenizer", tokenizer)),
        ):
            options = [
                "--documents",
                "line",
                "--input",
                text / f"{file}.txt",
                "--destdir",
                self.work / folder,
                "--split",
                split,
            ]
            self.add(f"{folder}-{split}", [*PIXELGPT, "render-corpus", *options, *more], [needs], self.pace["render"])
        for task in budget.tasks:
            self.render_task(task)

    def render_task(self, task, attack=None):
        """The data folder of a task of GLUE; with *attack*, its training set attacked."""
        name = f"{task}-{attack}" if attack else task
        options = [
            "--glue-dir",
            self.glue_dir,
            "--task",
            task,
            "--destdir",
            self.work / name,
            "--like",
            self.work / "sentences",
        ]
        if attack:
            options += ["--attack", attack, "--severity", ATTACKED_TRAINING, "--attack-splits", "train"]
        return self.add(f"{name}-data", [*PIXELGPT, "render-glue", *options], ["sentences-train"], self.pace["render"])

    def train(self, name, data, updates, rate, options, needs, seconds, save_dir=None, keep=None):
        """Add a run of fairseq-train."""
        folder = save_dir or self.work / "runs" / name
        command = [TRAIN, data, *self.common, "--max-update", updates, "--lr", rate, "--save-dir", folder]
        command += ["--optimizer", "fused_adamw", "--weight-decay", 0.01, "--clip-norm", 1.0, "--no-epoch-checkpoints"]
        return self.add(name, [*command, *options], needs, seconds, updates, keep)

    def language_modeling(self, modalities, weights, batch, total, every, patch_weight):
        """Options of pretraining: *total* updates on rows of one line or sentence each, a validation after *every*."""
        return [
            *("--task", "rendered_pretraining", "--modalities", modalities, "--modality-weights", weights),
            *("--arch", self.budget.arch, "--criterion", "patch_token_loss", "--patch-loss-weight", patch_weight),
            *("--sample-break-mode", "eos", "--tokens-per-sample", 512, "--pair-patches", 256, "--pair-tokens", 256),
            *("--batch-size", batch, "--adam-betas", "(0.9, 0.98)", "--lr-scheduler", "cosine", "--lr-shrink", 0),
            *("--warmup-updates", max(1, total // 10), "--lr-period-updates", total - max(1, total // 10)),
            *("--validate-interval-updates", every, "--save-interval-updates", every, "--keep-interval-updates", 1),
        ]

    def pretrain(self):
        """The DualGPT: pairs of one to four words first, then sentences in all modalities.

        A stage for each point at which it is looked at, so that what needs a point need not wait for the end.
        """
        budget, before = self.budget, None
        parts = (
            ("lines", budget.line_updates, budget.line_batch, "pair", "1", 0.3, 0),
            (
                "sentences",
                budget.sentence_updates,
                budget.sentence_batch,
                *budget.sentence_mixture,
                1,
                budget.line_updates[-1],
            ),
        )
        for data, all_updates, batch, modalities, weights, patch_weight, offset in parts:
            start = ["--finetune-from-model", self.checkpoint(offset)] if offset else []
            every = max(1, all_updates[0] // 2)
            options = self.language_modeling(modalities, weights, batch, all_updates[-1], every, patch_weight)
            last, folder = 0, self.work / "runs" / f"dualgpt-{data}"
            for updates in all_updates:
                needs = [before] if before else ["lines-valid", "sentences-valid"]
                keep = folder / "checkpoint_last.pt", self.checkpoint(offset + updates)
                before = self.train(
                    f"pretrain-{offset + updates}", self.work / data, updates, budget.rate, [*options, *start], needs,
                    (updates - last) * self.pace[data], save_dir=folder, keep=keep,
                )  # fmt: skip
                last = updates

    def compare_regimes(self):
        """A model of each of the four regimes, from scratch on sentences, for their losses."""
        for regime, modalities in REGIMES.items():
            weights = ",".join("1" for _ in modalities.split(","))
            total = self.budget.regime_updates
            options = self.language_modeling(
                modalities, weights, self.budget.sentence_batch, total, max(1, total // 6), 1
            )
            data, seconds = self.work / "sentences", total * self.pace["sentences"]
            self.train(
                f"regime-{regime}", data, total, self.budget.rate, [*options, "--no-save"], ["sentences-valid"], seconds
            )

    def read(self, updates):
        """What the DualGPT reads of held-out lines."""
        files = ["--checkpoint", self.checkpoint(updates), "--lines", self.work / "text" / "valid_lines.txt"]
        options = ["--of-a-length", self.budget.read_lines, "--output", self.work / "reading" / f"{updates}.json"]
        needs = [f"pretrain-{updates}"]
        self.add(f"read-{updates}", [sys.executable, HERE / "reading.py", *files, *options], needs, self.pace["read"])

    def finetune_all(self, task):
        """Every modality from every point, several seeds at both ends; some for longer, from the last point."""
        last = self.points()[-1]
        for point in (SCRATCH, *self.points()):
            for modality in MODALITIES:
                is_end = point in (SCRATCH, last)
                if is_end or point in self.points()[: -1 : self.budget.stride[modality]]:
                    for seed in range(1, (self.budget.seeds if is_end else 1) + 1):
                        self.finetune(task, modality, point, seed)
        for modality in self.budget.long_updates:
            for seed in range(1, self.budget.attacked_seeds + 1):
                self.finetune(task, modality, last, seed, LONG)

    def finetune(self, task, modality, point, seed, kind=None):
        """Add one run of fine-tuning; returns the name of its stage.

        Args:
            task: of GLUE.
            modality: what is read.
            point: updates of pretraining, or ``SCRATCH``.
            seed: of the run.
            kind: None; ``LONG``: with more updates; or the name of an attack on the training set.
        """
        budget = self.budget
        data = f"{task}-{kind}" if kind in budget.attacked_training else task
        longer = budget.long_updates if kind else {}
        updates = longer.get(modality, budget.finetuning_updates[modality])
        needs, start = [f"{data}-data"], ["--arch", budget.arch]
        if point != SCRATCH:
            needs.append(f"pretrain-{point}")
            start += ["--finetune-from-model", self.checkpoint(point)]
        every = max(1, updates // 6)
        is_attacked = point == self.points()[-1] and seed <= budget.attacked_seeds and task == "sst2"
        options = [
            *("--task", "rendered_glue", "--glue-task", task, "--modality", modality, "--max-positions", 256, *start),
            *("--criterion", "rendered_classification", "--batch-size", 64, "--adam-betas", "(0.9, 0.98)"),
            *("--lr-scheduler", "polynomial_decay", "--warmup-updates", max(1, updates // 20)),
            *("--total-num-update", updates, "--seed", seed, "--validate-interval-updates", every),
            *("--best-checkpoint-metric", CHOOSES[task], "--maximize-best-checkpoint-metric"),
            *(("--save-interval-updates", every, "--keep-interval-updates", 1) if is_attacked else ("--no-save",)),
        ]
        name = f"{task}-{kind}-{modality}-{point}-{seed}" if kind else f"{task}-{modality}-{point}-{seed}"
        seconds = updates * self.pace[modality] + self.pace["start"]
        rate = budget.finetuning_rate[modality]
        return self.train(name, self.work / data, updates, rate, options, needs, seconds)

    def attack(self):
        """The fine-tuned models under attack, and models that were trained on attacked text."""
        budget, last, models = self.budget, self.points()[-1], []
        for modality in MODALITIES:
            kind = f"{LONG}-" if modality in budget.long_updates else ""
            for seed in range(1, budget.attacked_seeds + 1):
                models.append((modality, f"sst2-{kind}{modality}-{last}-{seed}"))
        for attack in budget.attacked_training:
            self.render_task("sst2", attack)
            for modality in MODALITIES:
                models.append((f"{modality}, trained on {attack}", self.finetune("sst2", modality, last, 1, attack)))
        attacks = 9 if budget.attacks == "all" else len(budget.attacks.split(","))
        evaluations = len(models) * (1 + attacks * len(budget.severities.split(",")) * budget.attack_seeds)
        checkpoints = [f"{name}={self.work / 'runs' / run / 'checkpoint_best.pt'}" for name, run in models]
        command = [
            *(*PIXELGPT, "evaluate-robustness", "--glue-dir", self.glue_dir, "--task", "sst2"),
            *("--attacks", budget.attacks, "--severities", budget.severities, "--seeds", budget.attack_seeds),
            *("--output", self.work / "robustness", "--checkpoint", *checkpoints),
        ]
        needs = [run for _, run in models]
        self.add("robustness", command if budget.gpu else [*command, "--cpu"], needs, evaluations * self.pace["attack"])
