"""An attack with its severity and seed, for many texts, in any order and in any number of processes."""

import hashlib
import json
import random
from dataclasses import dataclass, field

from pixelgpt_fairseq.perturbations.attacks import AttackedText, attack_with_words, check_attack


@dataclass(frozen=True)
class Perturbation:
    """A function of texts to attacked texts.

    Every text has its own generator, which is seeded with the seed, the attack's name and the text itself. So the
    result does not depend on the texts before it, nor on the process. At every severity the same numbers are drawn, so
    that a word that changes at a low severity also changes at a higher one.

    Attributes:
        name, severity, typos: see :func:`~pixelgpt_fairseq.perturbations.attack`.
        seed: another seed changes other words.

    Raises:
        UserError: for an attack that cannot be made.
    """

    name: str
    severity: float
    seed: int = 1
    typos: dict | None = field(default=None, repr=False)

    def __post_init__(self):
        check_attack(self.name, self.severity, self.typos)

    def __call__(self, text: str) -> str:
        """The attacked text."""
        return self.with_words(text).text

    def with_words(self, text: str) -> AttackedText:
        """The attacked text, and where its words went."""
        seed = f"{self.seed} {self.name} {text}".encode("utf-8", "surrogatepass")
        return attack_with_words(text, self.name, self.severity, random.Random(seed), self.typos)

    def __str__(self):
        return f"{self.name}, severity {self.severity:g}, seed {self.seed}"

    def to_dict(self) -> dict:
        """The settings as plain JSON values, which manifests keep, and by which two perturbations are compared."""
        values = {"name": self.name, "severity": self.severity, "seed": self.seed}
        if self.typos is not None:
            listed = json.dumps(sorted(self.typos.items()), ensure_ascii=True)
            values["typos_sha256"] = hashlib.sha256(listed.encode()).hexdigest()
        return values
