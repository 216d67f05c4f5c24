"""What ``--patience`` has counted, for checkpoints: fairseq keeps it in attributes of a function, and no file."""

import sys


def early_stopping_state() -> dict:
    """The best score and the validations since then: ``{"best": ..., "num_runs": ...}``; empty before the first."""
    return dict(vars(_should_stop_early()))


def restore_early_stopping(state):
    """Go on counting from *state*, which :func:`early_stopping_state` gave."""
    vars(_should_stop_early()).update(state)


def _should_stop_early():
    from fairseq_cli import train  # which imports all of fairseq

    # ``python -m fairseq_cli.train`` runs a second copy of the module.
    return getattr(sys.modules["__main__"], "should_stop_early", train.should_stop_early)
