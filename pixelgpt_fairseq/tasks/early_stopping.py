"""What ``--patience`` has counted, for checkpoints: fairseq keeps it in attributes of a function, and no file."""

import sys


def early_stopping_state() -> dict:
    """The best score and the validations since then: ``{"best": ..., "num_runs": ...}``; empty before the first."""
    return dict(vars(_should_stop_early()))


def restore_early_stopping(state):
    """Go on counting from *state*, which :func:`early_stopping_state` gave."""
    vars(_should_stop_early()).update(state)


def validations_without_a_better_one(extra_state) -> int:
    """How many validations before a checkpoint were no better than the best, for ``--patience``; 0 if it does not say.

    Args:
        extra_state: of the checkpoint, where fairseq puts what a task keeps under the name of the task's class.
    """
    for kept in extra_state.values():
        if isinstance(kept, dict) and "early_stopping" in kept:
            return kept["early_stopping"].get("num_runs", 0)
    return 0


def _should_stop_early():
    from fairseq_cli import train  # which imports all of fairseq

    # ``python -m fairseq_cli.train`` runs a second copy of the module.
    return getattr(sys.modules["__main__"], "should_stop_early", train.should_stop_early)
