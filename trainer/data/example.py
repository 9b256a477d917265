"""The protocol buffer `tf.train.Example`, declared here so that reading needs no TensorFlow.

Only what an image classification set stores is declared: features that are lists of bytes or of
integers. Field numbers are those of TensorFlow's `example.proto` and `feature.proto`; whatever
else a record holds is skipped by the parser.
"""

from typing import Any

from google.protobuf import (  # type: ignore[import-untyped]
    descriptor_pb2,
    descriptor_pool,
    message_factory,
)

_Field = descriptor_pb2.FieldDescriptorProto


def _example_class() -> Any:
    file = descriptor_pb2.FileDescriptorProto(
        name="example.proto", package="tensorflow", syntax="proto3"
    )
    _declare(file.message_type.add(name="BytesList"), value=(1, _Field.TYPE_BYTES, "*"))
    _declare(file.message_type.add(name="Int64List"), value=(1, _Field.TYPE_INT64, "*"))
    _declare(
        file.message_type.add(name="Feature"),
        bytes_list=(1, "BytesList", ""),
        int64_list=(3, "Int64List", ""),
    )
    features = file.message_type.add(name="Features")
    _declare(features, feature=(1, "Features.FeatureEntry", "*"))
    entry = features.nested_type.add(name="FeatureEntry")
    entry.options.map_entry = True
    _declare(entry, key=(1, _Field.TYPE_STRING, ""), value=(2, "Feature", ""))
    _declare(file.message_type.add(name="Example"), features=(1, "Features", ""))
    # A pool of our own: TensorFlow may have declared the same names in the default one.
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("tensorflow.Example"))


def _declare(message: Any, **fields: tuple[int, int | str, str]) -> None:
    """Add fields, each (number, scalar type or name of a message, "*" where repeated)."""
    for name, (number, kind, repeated) in fields.items():
        label = _Field.LABEL_REPEATED if repeated else _Field.LABEL_OPTIONAL
        added = message.field.add(name=name, number=number, label=label)
        if isinstance(kind, str):
            added.type, added.type_name = _Field.TYPE_MESSAGE, f".tensorflow.{kind}"
        else:
            added.type = kind


Example = _example_class()


def read_example(record: bytes) -> tuple[bytes, int]:
    """Return the `image` (an encoded image file) and the `label` of a serialised Example.

    Raises:
        ValueError: the record is no Example, or lacks one of the two features.
    """
    try:
        features = Example.FromString(record).features.feature
        return features["image"].bytes_list.value[0], features["label"].int64_list.value[0]
    except Exception as error:  # protobuf's DecodeError, or IndexError for an empty list
        msg = "no tf.train.Example with an image and a label"
        raise ValueError(msg) from error
