# ruff: noqa: UP045  (fairseq reads Optional[...] off its dataclasses)
"""Fine-tuning on GLUE, or on sentences with labels of one's own."""

from dataclasses import dataclass, field
from typing import Optional

from fairseq.tasks import register_task

from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.sources.glue import task_name
from pixelgpt_fairseq.tasks.rendered_classification import RenderedClassificationConfig, RenderedClassificationTask


@dataclass
class RenderedGlueConfig(RenderedClassificationConfig):
    """Options of ``--task rendered_glue``."""

    glue_task: Optional[str] = field(
        default=None, metadata={"help": "the task that the data folder must be of, such as rte (default: any)"}
    )


@register_task("rendered_glue", dataclass=RenderedGlueConfig)
class RenderedGlueTask(RenderedClassificationTask):
    """The examples that ``pixelgpt render-glue`` wrote.

    MNLI has two sets to validate on, ``--valid-subset valid,valid_mismatched``; the first one decides which checkpoint
    is best.
    """

    render_script = "pixelgpt render-glue"

    @classmethod
    def check_options(cls, cfg, folder, sentence_task):
        """Check ``--glue-task`` against the data folder."""
        if cfg.glue_task is not None and sentence_task.name not in (cfg.glue_task, task_name(cfg.glue_task)):
            raise UserError(f"--glue-task {cfg.glue_task}: {folder.path} holds task {sentence_task.name}")
