"""The state of ``--patience``, for checkpoints: fairseq keeps it only as attributes of a function."""

import sys


def early_stopping_state() -> dict:
    """The best score, and validations since: ``{"best": ..., "num_runs": ...}``; empty before the first."""
    return dict(vars(_should_stop_early()))


def restore_early_stopping(state):
    """Restore *state*, a result of :func:`early_stopping_state`."""
    vars(_should_stop_early()).update(state)


def validations_without_a_better_one(extra_state) -> int:
    """Number of validations without improvement at the time of a checkpoint; 0 if it records none.

    Args:
        extra_state: of the checkpoint; fairseq stores a task's state there under the name of its class.
    """
    for kept in extra_state.values():
        if isinstance(kept, dict) and "early_stopping" in kept:
            return kept["early_stopping"].get("num_runs", 0)
    return 0


def _should_stop_early():
    from fairseq_cli import train  # which imports all of fairseq

    # ``python -m fairseq_cli.train`` runs a second copy of the module.
    return getattr(sys.modules["__main__"], "should_stop_early", train.should_stop_early)
