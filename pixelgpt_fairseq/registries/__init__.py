"""What all registries of the package (backends, streams, metrics, heads) have in common."""


def check_free(kind, name, held, function):
    """Refuse a name that another function has.

    A module that is executed again, in a notebook say, replaces its own functions.

    Args:
        kind: what is registered, for the message.
        name: under which *function* is to be registered.
        held: the function that has the name; None if it is free.
        function: a function or a class.

    Raises:
        ValueError: naming the other one.
    """
    if held is not None and (held.__module__, held.__qualname__) != (function.__module__, function.__qualname__):
        raise ValueError(f"there is a {kind} {name} already: {held.__module__}.{held.__qualname__}")
