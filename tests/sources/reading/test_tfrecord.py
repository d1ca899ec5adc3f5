import struct

import numpy as np
import pytest
from made_tfrecords import example, record, write_records

from vgen.sources.reading.tfrecord import Damaged, Example, check_record, crc32c, find_records, mapped, masked_crc32c


@pytest.mark.parametrize(
    ("data", "checksum"),
    [  # of RFC 3720, B.4, and of 123456789, the check value of catalogues
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(range(31, -1, -1)), 0x113FDB5C),
        (b"123456789", 0xE3069283),
        (b"", 0),
    ],
)
def test_checksums_are_those_of_the_standard(data, checksum):
    assert crc32c(data) == checksum


@pytest.mark.parametrize("length", [1023, 1024, 2047, 2048, 5000, 20_001])
def test_stretches_give_the_checksum_of_the_whole(length):
    data = np.random.default_rng(length).bytes(length)
    register = 0xFFFFFFFF
    for byte in data:  # bit by bit, as the standard defines it
        register ^= byte
        for _ in range(8):
            register = register >> 1 ^ (0x82F63B78 if register & 1 else 0)
    assert crc32c(memoryview(data)) == register ^ 0xFFFFFFFF


def test_checksums_are_masked_as_others_write_them():
    # of tensorboard's record writer, for the same bytes
    assert masked_crc32c(b"hello") == 0x191C1FBB
    assert record(b"hello")[:12] == struct.pack("<QI", 5, 0x3E04B2EA)


def test_records_are_found_and_checked(tmp_path):
    contents = [b"one", b"", bytes(range(256)) * 20]
    write_records(tmp_path / "a", contents)
    data = mapped(tmp_path / "a")
    found = find_records(data)
    assert [bytes(data[start : start + length]) for start, length in found.spans] == contents and found.reason == ""
    for start, length in found.spans:
        check_record(data, start, length)


@pytest.mark.parametrize("cut", [1, 5, 4 + 5120, 4 + 5120 + 3])
def test_a_file_that_is_cut_off_keeps_what_is_whole(tmp_path, cut):
    write_records(tmp_path / "a", [b"one", b"two", bytes(5120)])
    (tmp_path / "a").write_bytes((tmp_path / "a").read_bytes()[:-cut])
    found = find_records(mapped(tmp_path / "a"))
    assert len(found.spans) == 2 and found.reason == "the file is cut off"


def test_flipped_bits_are_seen_wherever_they_are(tmp_path):
    whole = record(bytes(range(200)))
    for place in range(len(whole)):
        flipped = bytearray(whole)
        flipped[place] ^= 4
        found = find_records(memoryview(flipped))
        if place < 12:
            assert found.spans == [] and found.reason == "a length is damaged"
        else:
            with pytest.raises(Damaged, match="checksum"):
                check_record(memoryview(flipped), *found.spans[0])


def test_an_empty_file_has_no_record(tmp_path):
    (tmp_path / "a").touch()
    assert find_records(mapped(tmp_path / "a")).spans == []


@pytest.mark.parametrize("packed", [True, False])
def test_features_come_back(packed):
    features = {"texts": [b"a", b"", b"bc" * 200], "floats": np.float32([0.5, -2]), "integers": [0, 3, -7, 2**40]}
    found = Example(memoryview(example(features, packed)))
    assert [bytes(text) for text in found.texts("texts")] == features["texts"]
    np.testing.assert_array_equal(found.floats("floats"), features["floats"])
    assert found.integers("integers") == features["integers"]
    assert found.names() == sorted(features) and "other" not in found


def test_what_is_no_example_is_damaged():
    with pytest.raises(Damaged, match="it has no steps/action"):
        Example(memoryview(example({"a": [1]}))).floats("steps/action")
    with pytest.raises(Damaged, match="a is of another kind"):
        Example(memoryview(example({"a": [1]}))).floats("a")
    with pytest.raises(Damaged, match="longer than what holds it"):
        Example(memoryview(example({"a": [b"text"]})[:-2]))
    with pytest.raises(Damaged, match=r"is no tf\.train\.Example"):
        Example(memoryview(b"\x0b\x0c"))
    with pytest.raises(Damaged, match="a number does not end"):
        Example(memoryview(b"\xff" * 12))
