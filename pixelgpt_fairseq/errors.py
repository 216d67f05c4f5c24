"""User errors: mistakes in commands, files or settings, reported to the user in one line."""

import contextlib
import functools
import inspect
import logging
import sys


class UserError(Exception):
    """A mistake in a command, a file or a setting: the message is one line that says what to do.

    The package raises it wherever the user, not the program, has to act. Python callers catch it; commands print
    it without a stack of frames (:func:`exit_on_user_error`).
    """


def missing_package(what, package, extra):
    """The error to raise where a package of an extra of setup.py is not installed.

    Args:
        what: cannot be done without it, such as ``"reading Parquet"``.
        package: as pip calls it.
        extra: name of the extra that brings it.
    """
    return UserError(
        f"{what} needs the package {package}: run `pip install 'pixelgpt-fairseq[{extra}]'`, or in the checkout "
        f"`pip install -e '.[{extra}]' -c constraints.txt`"
    )


def exit_on_user_error(function):
    """Wrap *function* so that a :class:`UserError` ends the process with its one line and exit status 1.

    For the places where a command enters the package: the ``main`` of a script, and the methods of a task or model
    that fairseq's commands call.
    """

    @functools.wraps(function)
    def wrapped(*args, **kwargs):
        try:
            return function(*args, **kwargs)
        except UserError as error:
            # SystemExit passes through fairseq and Hydra untouched, and prints no frames.
            sys.exit(f"error: {error}")

    wrapped.__signature__ = inspect.signature(function)  # fairseq looks whether build_model knows from_checkpoint
    return wrapped


def command(main):
    """Wrap the ``main`` of a script: :func:`exit_on_user_error`, and one line and exit status 130 for Ctrl-C.

    The line is what the ``KeyboardInterrupt`` says: code that leaves more behind than finished files raises one that
    tells what is left, and what the same command does next.

    What the package logs as a warning is printed like the script's own, ``warning: ...``; what it logs as information
    is for training runs, and is not.
    """
    main = exit_on_user_error(main)

    @functools.wraps(main)
    def wrapped(*args, **kwargs):
        try:
            with _warnings_printed():
                return main(*args, **kwargs)
        except KeyboardInterrupt as interruption:
            told = str(interruption) or "finished files stay, unfinished ones are removed"
            print(f"interrupted: {told}", file=sys.stderr)
            sys.exit(130)

    return wrapped


@contextlib.contextmanager
def _warnings_printed():
    # Parts of fairseq set up logging when they are imported, unless it is done: every library's messages, down to those
    # for debugging, would be printed.
    logging.basicConfig(format="%(message)s")
    logger = logging.getLogger(__package__)
    before = logger.level, logger.propagate
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("warning: %(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.WARNING)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before[0])
        logger.propagate = before[1]
