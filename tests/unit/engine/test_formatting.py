"""Sizes of memory as people write them."""

import pytest

from batchscope.engine.errors import UsageProblem
from batchscope.engine.formatting import EXAMPLE, parse_size


@pytest.mark.parametrize(
    ("written", "size"),
    [
        ("2GiB", 2 << 30),
        ("512MiB", 512 << 20),
        ("512 MiB", 512 << 20),
        (" 1.5 GB ", 1_500_000_000),
        ("1.5GiB", 1_610_612_736),
        ("800MB", 800_000_000),
        ("800mb", 800_000_000),
        ("1gib", 1 << 30),
        ("64KiB", 1 << 16),
        ("64kB", 64_000),
        ("0.1GiB", 107_374_182),
        ("0.0000000001TB", 100),
        ("1TiB", 1 << 40),
        ("1024PiB", 1 << 60),
        ("100B", 100),
        ("1048576", 1 << 20),
        ("1", 1),
        (1048576, 1 << 20),
        (1 << 60, 1 << 60),
    ],
)
def test_sizes(written: object, size: int) -> None:
    assert parse_size(written) == size


@pytest.mark.parametrize(
    "written",
    [
        *("", " ", "GiB", "many", "2 G iB", "2GiBs", "-1GiB", "+1GiB", "1e9", "1_000", "0x10"),
        *("1,5GB", "1.GB", ".5GB", "1.5.5GB", "nan", "inf", "infGiB", "٣GiB", "2\nGiB", "½GiB"),
        *("9" * 50, "2GiB 3MiB", "\x1b[2J", True, False, None, 1.5, [], {}, float("nan")),
        *("2G", "2g", "2M", "2K", "2T"),
    ],
)
def test_nonsense_is_told_an_example(written: object) -> None:
    with pytest.raises(UsageProblem) as caught:
        parse_size(written)
    assert EXAMPLE in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("written", "part"),
    [
        ("2G", "write GiB (1024³) or GB (1000³)"),
        ("2k", "write KiB (1024) or KB (1000)"),
        ("1.5", "whole number of bytes"),
        ("1.5B", "whole number of bytes"),
        ("0", "from 1 byte to 1024 PiB, got '0'"),
        ("0.0GiB", "from 1 byte"),
        ("1025PiB", "1024 PiB"),
        ("99999999999999999999", "1024 PiB"),
        (0, "from 1 byte"),
        (-5, "from 1 byte"),
    ],
)
def test_sizes_that_cannot_be(written: object, part: str) -> None:
    with pytest.raises(UsageProblem) as caught:
        parse_size(written)
    assert part in str(caught.value)


def test_a_number_too_large_to_be_written_down() -> None:
    with pytest.raises(UsageProblem, match="a value too large to show"):
        parse_size(10**5000)
