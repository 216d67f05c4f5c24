"""Text to attacked text: the orthographic attacks by which the robustness of language models is measured.

An attack is a pure function of a text, a severity and a generator of random numbers. Nothing here needs torch or
fairseq.
"""

from pixelgpt_fairseq.perturbations.attacks import (
    ATTACKS,
    Attack,
    AttackedText,
    attack,
    attack_with_words,
    check_attack,
)
from pixelgpt_fairseq.perturbations.seeded import Perturbation
from pixelgpt_fairseq.perturbations.typos import read_typos

__all__ = [
    "ATTACKS",
    "Attack",
    "AttackedText",
    "Perturbation",
    "attack",
    "attack_with_words",
    "check_attack",
    "read_typos",
]
