"""The stages of the evidence: which commands show what pretraining brings, and which need which."""

import sys
from pathlib import Path

from budgets import MODALITIES, REGIMES, Budget
from jobs import Stage

from pixelgpt_fairseq.cli.logged_commands import BIN, PIXELGPT, USER_DIR

HERE = Path(__file__).resolve().parent
SCRATCH = "scratch"  # the point before any update of pretraining
LONG = "long"  # in the names of runs that are fine-tuned for longer
CHOOSES = {"sst2": "accuracy", "rte": "accuracy", "cola": "matthews_correlation"}
ATTACKED_TRAINING = 0.5  # severity
ATTACKS = 9  # that need no file of the user's


def options(**values):
    """Options of a command: ``seed=1`` is ``--seed 1``. True: the option alone; None: left out; a tuple: its items."""
    found = []
    for name, value in values.items():
        if value is not None:
            items = () if value is True else value if isinstance(value, tuple) else (value,)
            found += [f"--{name.replace('_', '-')}", *items]
    return found


class Evidence:
    """The stages of one budget.

    Args:
        budget: Budget.
        glue_dir, xnli_dir: folders of GLUE's and XNLI's files; *xnli_dir* may be None.
        work: Path of the folder for all that is made.
        report: Path of the folder of the tables and plots.
        text: Path of a folder that corpus.py has made; None: a stage makes it.
    """

    def __init__(self, budget: Budget, glue_dir, xnli_dir, work, report, text=None):
        self.budget, self.glue_dir, self.xnli_dir, self.work, self.report = budget, glue_dir, xnli_dir, work, report
        self.cpu = None if budget.gpu else True  # as an option of commands
        self.has_text, self.text = text is not None, text or work / "text"
        self.pace, self.stages = budget.pace, []

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
        what = options(work=self.work, text=self.text, output=self.report)
        self.script("figures", "figures.py", what, everything, 20)
        return self.stages

    def add(self, name, command, needs, seconds, updates=0, keep=None):
        """Add a stage; returns its name."""
        self.stages.append(Stage(name, tuple(map(str, command)), tuple(needs), seconds, updates, keep))
        return name

    def script(self, name, file, arguments, needs, seconds):
        """Add a stage that runs one of the scripts beside this file."""
        return self.add(name, [sys.executable, HERE / file, *arguments], needs, seconds)

    def points(self):
        """The numbers of updates after which the DualGPT is looked at, in both parts of its pretraining."""
        lines = self.budget.line_updates
        return lines + tuple(lines[-1] + updates for updates in self.budget.sentence_updates)

    def checkpoint(self, updates):
        """The DualGPT after so many updates."""
        return self.work / "pretrained" / f"{updates}.pt"

    # ---- data

    def prepare_data(self):
        """Text, and data folders: its sentences, its lines of a few words, and the tasks."""
        budget, text, needs = self.budget, self.text, ()
        if not self.has_text:
            source = options(glue_dir=self.glue_dir, xnli_dir=self.xnli_dir, packages=budget.packages)
            size = options(most_mb=budget.most_mb, most_lines=budget.most_lines, output=text, overwrite=True)
            needs = [self.script("corpus", "corpus.py", [*source, *size], (), self.pace["corpus"])]
        sentences, lines = self.work / "sentences", self.work / "lines"
        tokenizer = sentences / "tokenizer.model"
        look = {"structure": budget.structure}
        self.render(text / "train.txt", sentences, "train", needs, train_tokenizer=budget.vocabulary, **look)
        self.render(text / "valid.txt", sentences, "valid", ["sentences-train"])
        self.render(text / "train_lines.txt", lines, "train", ["sentences-train"], tokenizer=tokenizer, **look)
        self.render(text / "valid_lines.txt", lines, "valid", ["lines-train"])
        for task in budget.tasks:
            self.render_task(task)

    def render(self, file, folder, split, needs, **more):
        """A split of a data folder, of which every line of a file is a document."""
        where = {"input": file, "destdir": folder, "split": split, "workers": self.budget.workers}
        what = options(documents="line", **where, **more, overwrite=True)
        seconds = self.pace["render" if split == "train" else "start"]
        self.add(f"{folder.name}-{split}", [*PIXELGPT, "render-corpus", *what], needs, seconds)

    def render_task(self, task, attack=None):
        """The data folder of a task of GLUE; with *attack*, its training set attacked."""
        name = f"{task}-{attack}" if attack else task
        where = {"glue_dir": self.glue_dir, "destdir": self.work / name, "workers": self.budget.workers}
        what = options(**where, task=task, like=self.work / "sentences")
        if attack:
            what += options(attack=attack, severity=ATTACKED_TRAINING, attack_splits="train")
        command = [*PIXELGPT, "render-glue", *what, *options(overwrite=True)]
        return self.add(f"{name}-data", command, ["sentences-train"], self.pace["render"])

    # ---- training

    def train(self, name, data, updates, rate, more, needs, seconds, save_dir=None, keep=None):
        """Add a run of fairseq-train.

        Args:
            name: of the stage.
            data: data folder.
            updates: at which it ends.
            rate: its highest learning rate.
            more: further options.
            needs, seconds, keep: see Stage.
            save_dir: of the checkpoints (default: of the stage's own name).
        """
        device = (
            options(tf32=True, compile=self.budget.compile or None, num_workers=2)
            if self.budget.gpu
            else options(cpu=True, num_workers=0)
        )
        fixed = options(
            user_dir=USER_DIR, bf16=True, optimizer="fused_adamw", adam_betas="(0.9, 0.98)", weight_decay=0.01,
            clip_norm=1.0, no_epoch_checkpoints=True, log_format="simple", log_interval=10,
        )  # fmt: skip
        run = options(max_update=updates, lr=rate, save_dir=save_dir or self.work / "runs" / name)
        return self.add(
            name, [BIN / "fairseq-train", data, *device, *fixed, *run, *more], needs, seconds, updates, keep
        )

    def language_modeling(self, modalities, weights, batch, total, every, patch_weight):
        """Options of pretraining: *total* updates on rows of one line or sentence each, a validation after *every*."""
        warmup = max(1, total // 10)
        return options(
            task="rendered_pretraining", modalities=modalities, modality_weights=weights, arch=self.budget.arch,
            criterion="patch_token_loss", patch_loss_weight=patch_weight, sample_break_mode="eos",
            tokens_per_sample=512, pair_patches=256, pair_tokens=256, batch_size=batch,
            lr_scheduler="cosine", lr_shrink=0, warmup_updates=warmup, lr_period_updates=total - warmup,
            validate_interval_updates=every, save_interval_updates=every, keep_interval_updates=1,
        )  # fmt: skip

    def pretrain(self):
        """The DualGPT: pairs of one to four words first, then sentences in all modalities."""
        budget = self.budget
        weight, end = budget.patch_loss_weight, budget.line_updates[-1]
        in_lines, in_sentences = map(_total_and_interval, (budget.line_updates, budget.sentence_updates))
        lines = self.language_modeling("pair", "1", budget.line_batch, *in_lines, weight)
        sentences = self.language_modeling(*budget.sentence_mixture, budget.sentence_batch, *in_sentences, weight)
        last = self.pretrain_part("lines", lines, budget.line_updates, budget.rate, 0, ["lines-valid"])
        sentences += options(finetune_from_model=self.checkpoint(end))
        needs = [last, "sentences-valid"]
        self.pretrain_part("sentences", sentences, budget.sentence_updates, budget.sentence_rate, end, needs)

    def pretrain_part(self, data, more, all_updates, rate, before, needs):
        """One run, with a stage for each point at which it is looked at: what needs a point need not wait for the end.

        Args:
            data: name of the data folder.
            more: options.
            all_updates: the points, in updates of this part.
            rate: learning rate.
            before: updates of the part before.
            needs: of the first stage.

        Returns:
            str: name of the last stage.
        """
        folder, first = self.work / "runs" / f"dualgpt-{data}", 0
        for updates in all_updates:
            keep = folder / "checkpoint_last.pt", self.checkpoint(before + updates)
            name, seconds = f"pretrain-{before + updates}", (updates - first) * self.pace[data] + self.pace["start"]
            self.train(name, self.work / data, updates, rate, more, needs, seconds, folder, keep)
            first, needs = updates, [name]
        return name

    def compare_regimes(self):
        """A model of each of the four regimes, from scratch on sentences, for their losses."""
        budget, data = self.budget, self.work / "sentences"
        total = budget.regime_updates
        for regime, modalities in REGIMES.items():
            weights = ",".join("1" for _ in modalities.split(","))
            more = self.language_modeling(modalities, weights, budget.sentence_batch, total, max(1, total // 6), 1)
            seconds = total * self.pace["sentences"] + self.pace["start"]
            more += options(no_save=True)
            self.train(f"regime-{regime}", data, total, budget.rate, more, ["sentences-valid"], seconds)

    def finetune_all(self, task):
        """Every modality from every point, several seeds at both ends; some for longer, from the last point."""
        *points, last = self.points()
        ends = {SCRATCH: self.budget.scratch_seeds, last: self.budget.seeds}
        for place, point in enumerate((*points, SCRATCH, last)):
            for modality in MODALITIES:
                if point in ends or place in self.budget.between[modality]:
                    for seed in range(1, ends.get(point, 1) + 1):
                        self.finetune(task, modality, point, seed)
        for modality in self.budget.long_updates:
            for seed in range(1, self.budget.long_seeds + 1):
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
        needs, start = [f"{data}-data"], options(arch=budget.arch)
        if point != SCRATCH:
            needs.append(f"pretrain-{point}")
            start += options(finetune_from_model=self.checkpoint(point))
        every = max(1, updates // 6)
        is_attacked = point == self.points()[-1] and task == "sst2"  # or would be by a larger budget
        saving = {"save_interval_updates": every, "keep_interval_updates": 1} if is_attacked else {"no_save": True}
        more = options(
            task="rendered_glue", glue_task=task, modality=modality, max_positions=256, seed=seed,
            dropout=budget.finetuning_dropout,
            batch_size=budget.finetuning_batch, criterion="rendered_classification", lr_scheduler="polynomial_decay",
            warmup_updates=max(1, updates // 20), total_num_update=updates, validate_interval_updates=every,
            best_checkpoint_metric=CHOOSES[task], maximize_best_checkpoint_metric=True, **saving,
        )  # fmt: skip
        name = f"{task}-{kind}-{modality}-{point}-{seed}" if kind else f"{task}-{modality}-{point}-{seed}"
        seconds = updates * self.pace[modality] + self.pace["start"]
        return self.train(name, self.work / data, updates, budget.finetuning_rate, [*more, *start], needs, seconds)

    # ---- evaluation

    def read(self, updates):
        """What the DualGPT reads of held-out lines."""
        lines, output = self.text / "valid_lines.txt", self.work / "reading" / f"{updates}.json"
        what = options(
            checkpoint=self.checkpoint(updates), lines=lines, of_a_length=self.budget.read_lines, output=output,
            cpu=self.cpu,
        )  # fmt: skip
        self.script(f"read-{updates}", "reading.py", what, [f"pretrain-{updates}"], self.pace["read"])

    def attack(self):
        """The fine-tuned models under attack, and models that were trained on attacked text."""
        budget, last = self.budget, self.points()[-1]
        models = {modality: [] for modality in MODALITIES}  # (name in the table, stage of its training)
        for modality, found in models.items():
            kind = f"{LONG}-" if modality in budget.long_updates else ""
            for seed in range(1, budget.attacked_seeds + 1):
                found.append((modality, f"sst2-{kind}{modality}-{last}-{seed}"))
        for attack in budget.attacked_training:
            self.render_task("sst2", attack)
            for modality, found in models.items():
                found.append((f"{modality}, trained on {attack}", self.finetune("sst2", modality, last, 1, attack)))
        attacks = ATTACKS if budget.attacks == "all" else len(budget.attacks.split(","))
        evaluations = 1 + attacks * len(budget.severities.split(",")) * budget.attack_seeds
        parts, checkpoints = [], []  # a model at a time, then the table of all
        for found in models.values():
            for name, run in found:
                file = f"{name}={self.work / 'runs' / run / 'checkpoint_best.pt'}"
                seconds = evaluations * self.pace["attack"]
                output = self.work / f"robustness-{run}"
                parts.append(self.evaluate(output, [run], seconds, checkpoint=file, no_plot=True))
                checkpoints.append(file)
        results = tuple(self.work / part for part in parts)
        self.evaluate(self.work / "robustness", parts, 10, checkpoint=tuple(checkpoints), results_of=results)

    def evaluate(self, output, needs, seconds, **more):
        """Add an evaluation under attacks, named after its folder; returns the name of the stage."""
        budget = self.budget
        what = options(
            glue_dir=self.glue_dir, task="sst2", attacks=budget.attacks, severities=budget.severities,
            seeds=budget.attack_seeds, output=output, cpu=self.cpu, **more,
        )  # fmt: skip
        return self.add(output.name, [*PIXELGPT, "evaluate-robustness", *what], needs, seconds)


def _total_and_interval(updates):
    """The number of updates at the end of a part of pretraining, and after how many it is validated."""
    return updates[-1], max(1, updates[0] // 2)
