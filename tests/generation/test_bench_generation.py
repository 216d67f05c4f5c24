"""The benchmark of generation compares ways that make the same, and prints their rates."""

import re

import pytest
from refusals import script


@pytest.mark.parametrize("slow", [20, 0])  # seconds; 0: the first run of each way counts, and is the only one
def test_rates_of_tokens_and_patches_are_printed(capsys, monkeypatch, slow):
    main = script("bench_generation")
    monkeypatch.setitem(main.__globals__, "SLOW", slow)
    sizes = "--positions 14 --tokens 3 --patches 3 --rows 2 --strips 1 2 --runs 1 --vocabulary 40"
    main(sizes.split())
    printed = capsys.readouterr().out
    names = re.findall(r"^(\w+ \d, [^:]+): [\d,.]+ (tokens|patches)/s", printed, re.MULTILINE)
    assert [name for name in names if "LLaMA" not in name[0]] == [
        ("rows 2, cached", "tokens"),
        ("rows 2, cached, by fairseq's generator", "tokens"),
        ("rows 2, uncached", "tokens"),
        ("strips 1, cached", "patches"),
        ("strips 1, uncached", "patches"),
        ("strips 2, cached", "patches"),
        ("strips 2, uncached", "patches"),
    ]
