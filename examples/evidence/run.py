#!/usr/bin/env python3
"""What pretraining brings, on real data, by one command: corpus, pretraining, fine-tuning, reading, attacks, plots.

    python examples/evidence/run.py --budget cpu-hour --glue-dir GLUE --xnli-dir XNLI --output evidence

A DualGPT learns to read short lines, then goes on with sentences. After several numbers of updates it is looked at:
what it reads of held-out lines, and how well it does on SST-2 as text, as pixels and as pairs when it is fine-tuned.
Models of the four regimes show their losses. Of the last models, attacks show what typos and look-alikes cost.

budgets.py holds all sizes, plan.py the commands, jobs.py runs them, figures.py makes the tables and plots. Interrupted
and given again, the command goes on where it was.
"""

import argparse
import contextlib
import dataclasses
import os
import platform
import re
import sys
import time
from pathlib import Path

from budgets import BUDGETS
from jobs import Plan, heed_interruptions, say, shown_time
from plan import Evidence

from pixelgpt_fairseq.errors import UserError, command
from pixelgpt_fairseq.rendering.config import STRUCTURES
from pixelgpt_fairseq.storage.locks import locked

INTERRUPTED = 130


def get_parser():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget", required=True, choices=BUDGETS, help="how much of everything: budgets.py")
    parser.add_argument("--glue-dir", type=Path, required=True, metavar="DIR", help="GLUE's folders SST-2, CoLA, RTE")
    parser.add_argument("--xnli-dir", type=Path, metavar="DIR", help="XNLI's files: more text for pretraining")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder for all that is made")
    parser.add_argument(
        "--text", type=Path, metavar="DIR", help="made by corpus.py, where apt-get has a network (default: made here)"
    )
    parser.add_argument(
        "--structure", choices=STRUCTURES, help="of strips (default: the budget's), to see what it does to a run"
    )
    parser.add_argument("--report", type=Path, metavar="DIR", help="for tables and plots (default: OUTPUT/report)")
    parser.add_argument(
        "--jobs",
        type=int,
        metavar="N",
        help="stages at a time (default: as many as CPU cores; with a GPU, the budget's)",
    )
    parser.add_argument("--dry-run", action="store_true", help="print the plan alone")
    return parser


@command
def main(argv=None):
    """Print the plan, run what is unfinished, and sum up."""
    args = get_parser().parse_args(argv)
    budget = BUDGETS[args.budget]
    if args.structure:
        budget = dataclasses.replace(budget, structure=args.structure)
    if args.jobs is not None and args.jobs < 1:
        raise UserError(f"--jobs {args.jobs}: at least 1")
    for option, folder in (("--glue-dir", args.glue_dir), ("--xnli-dir", args.xnli_dir), ("--text", args.text)):
        if folder is not None and not folder.is_dir():
            raise UserError(f"{option} {folder}: no such folder")
    jobs = args.jobs or budget.jobs or os.cpu_count()
    output = args.output.resolve()
    report = (args.report or output / "report").resolve()
    glue, xnli, text = (folder and folder.resolve() for folder in (args.glue_dir, args.xnli_dir, args.text))
    plan = Plan(Evidence(budget, glue, xnli, output, report, text).plan(), output)
    tell(plan, budget, jobs)
    if args.dry_run:
        return
    output.mkdir(parents=True, exist_ok=True)
    heed_interruptions()
    try:
        with locked(output / "run.lock", "running into this folder"):
            began = time.perf_counter()
            plan.run(jobs)
    except KeyboardInterrupt:
        print("interrupted: the same command goes on where it was", file=sys.stderr)
        sys.exit(INTERRUPTED)
    took, spent = shown_time(time.perf_counter() - began), shown_time(sum(plan.seconds_taken().values()))
    say(f"done in {took}; all stages together took {spent} on {hardware()}")
    print(f"tables and plots: {report}; logs: {output / 'logs'}; models: {output / 'runs'}, {output / 'pretrained'}")


def tell(plan, budget, jobs):
    """Print every stage, whether it is done, and how long it and all are expected to take."""
    left = plan.unfinished()
    for name, stage in plan.stages.items():
        print(f"  {name:32} {'done before' if name not in left else shown_time(stage.seconds)}")
    work = shown_time(sum(stage.seconds for stage in left.values()))
    print(
        f"{budget.name}: {len(plan.stages)} stages, {len(plan.stages) - len(left)} of them done before, {jobs} at a "
        f"time. To go: {work} of work, {shown_time(plan.schedule(jobs))} on hardware as that of budgets.py's figures.\n"
        f"What each prints goes to {plan.folder / 'logs'}",
        flush=True,
    )


def hardware():
    """The processors of this machine, and its GPU if torch finds one."""
    model = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        found = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
        model = found[1] if found else model
    import torch

    gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "no GPU"
    return f"{os.cpu_count()} cores of {model}, {gpu}"


if __name__ == "__main__":
    main()
