"""Models that others published: ``owner/name`` on the Hugging Face hub, as a folder on this machine."""

from pixelgpt_fairseq.storage.hub import fetch, is_hub_name

# What lies beside the weights of a released folder. Subfolders are left: they hold other things.
_AUXILIARY = ("*.json", "*.model", "*.txt", "*.ttf", "*.otf", "*.ttc", "LICENSE*")
_WEIGHTS = ("model*.safetensors",), ("pytorch_model*.bin",)  # the first that a repository has


def local_checkpoint(path):
    """*path* as it is; or, for the name of a model on the hub, the folder of its files, which are fetched first.

    Raises:
        UserError: see :func:`~pixelgpt_fairseq.storage.hub.fetch`.
    """
    if not is_hub_name(path):
        return path
    folder = fetch(path, _AUXILIARY, ignored="*/*")
    for patterns in _WEIGHTS:
        folder = fetch(path, patterns, ignored="*/*")
        if any(folder.glob(patterns[0])):
            break
    return folder
