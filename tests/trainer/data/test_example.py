import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.data.example import Example, read_example

# Written by hand from the protocol buffer wire format and the field numbers of TensorFlow's
# example.proto and feature.proto. Tag 0a: field 1, length-delimited; 1a: field 3; 12: field 2.
BYTES_PNG = bytes.fromhex("0a05 0a03") + b"PNG"  # Feature{bytes_list{value: "PNG"}}
INT64_300 = bytes.fromhex("1a04 0a02 ac02")  # Feature{int64_list{packed value: 300}}
INT64_300_UNPACKED = bytes.fromhex("1a03 08 ac02")
FLOAT_1 = bytes.fromhex("1206 0a04 0000803f")  # Feature{float_list{value: 1.0}}


def entry(key: bytes, feature: bytes) -> bytes:
    """Return one entry of the map `feature` of Features."""
    inner = b"\x0a" + bytes([len(key)]) + key + b"\x12" + bytes([len(feature)]) + feature
    return b"\x0a" + bytes([len(inner)]) + inner


def example(*entries: bytes) -> bytes:
    features = b"".join(entries)
    return b"\x0a" + bytes([len(features)]) + features


@pytest.mark.parametrize("label", [INT64_300, INT64_300_UNPACKED])
def test_record_of_known_bytes(label: bytes) -> None:
    record = example(entry(b"label", label), entry(b"image", BYTES_PNG))
    assert read_example(record) == (b"PNG", 300)


def test_other_features_are_passed_over() -> None:
    record = example(
        entry(b"weight", FLOAT_1),
        entry(b"label", INT64_300),
        entry(b"image", BYTES_PNG),
        entry(b"file_name", BYTES_PNG),
    )
    assert read_example(record) == (b"PNG", 300)


@given(image=st.binary(), label=st.integers(-(2**63), 2**63 - 1))
def test_what_is_written_is_read(image: bytes, label: int) -> None:
    written = Example()
    written.features.feature["image"].bytes_list.value.append(image)
    written.features.feature["label"].int64_list.value.append(label)
    assert read_example(written.SerializeToString()) == (image, label)


@pytest.mark.parametrize(
    "record",
    [
        b"",
        b"\xff\xff",
        example(entry(b"label", INT64_300)),
        example(entry(b"image", BYTES_PNG)),
        example(entry(b"image", INT64_300), entry(b"label", INT64_300)),
        example(entry(b"image", BYTES_PNG), entry(b"label", FLOAT_1)),
    ],
)
def test_record_without_image_or_label_is_refused(record: bytes) -> None:
    with pytest.raises(ValueError, match=r"no tf\.train\.Example with an image and a label"):
        read_example(record)
