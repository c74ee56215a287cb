"""Protobuf messages, checked before they are parsed.

An empty message inside of another takes two bytes, and some hundred when it is parsed: 16 MiB of them would be a
gigabyte, and seconds in which no other request is answered.
"""

from __future__ import annotations

from google.protobuf import descriptor, message

from fomm_tf.serving.local import memory, status

# Values of a tensor are one field, be they in `tensor_content` or, packed, in such as `float_val`.
MAX_FIELDS = 20_000
_TOO_MANY = f"request: got more than {MAX_FIELDS:,} fields; send values as tensor_content, or packed."
_MAX_DEPTH = 100
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_FIXED = {_FIXED64: 8, _FIXED32: 4}


def parse(kind: type[message.Message], data: bytes) -> message.Message:
    """Parses a message.

    Raises:
      message.DecodeError: if it is not such a message.
      status.RpcError: INVALID_ARGUMENT, if it has too many fields.
    """
    if len(data) > memory.SMALL_BYTES:
        _check_fields(kind.DESCRIPTOR, data)
    return kind.FromString(data)


def _check_fields(kind: descriptor.Descriptor, data: bytes) -> None:
    """Counts the fields of a message and of those in it; what cannot be read is left to the parser."""
    position, count = 0, 0
    ends = [(len(data), kind)]  # of the messages around the position
    while ends:
        end, kind = ends[-1]
        if position >= end:
            ends.pop()
            continue
        count += 1
        status.require(count <= MAX_FIELDS, _TOO_MANY)
        try:
            tag, position = _read_varint(data, position)
            if tag & 7 == _VARINT:
                _, position = _read_varint(data, position)
            elif tag & 7 == _LENGTH:
                length, position = _read_varint(data, position)
                field = kind.fields_by_number.get(tag >> 3)
                if field is not None and field.message_type is not None and len(ends) < _MAX_DEPTH:
                    ends.append((min(end, position + length), field.message_type))
                else:
                    position += length
            else:
                position += _FIXED.get(tag & 7, 0)
        except IndexError:
            return


def _read_varint(data: bytes, position: int) -> tuple[int, int]:
    """Returns a number and the position after it."""
    value = shift = 0
    while True:
        byte = data[position]
        value |= (byte & 127) << shift
        position, shift = position + 1, shift + 7
        if byte < 128:
            return value, position
        if shift > 63:
            raise IndexError
