"""Messages come whole or not at all, whatever else is written to their pipe; nobody waits."""

import os
import struct

import pytest

from rmmbench.running.isolation.pipe import MOST_BYTES, GarbageError, Printed, Receiver, Sender

WORD = b"sixteen letters!"


@pytest.fixture
def pipe():
    """Return the two ends, and the descriptor that is written to."""
    reader, writer = os.pipe()
    receiver = Receiver(reader, WORD)
    yield receiver, Sender(writer, WORD), writer
    receiver.close()
    os.close(writer)


def test_messages_come_in_order(pipe):
    """What is sent is received, as it was; where nothing is there, nothing is waited for."""
    receiver, sender, _ = pipe
    assert receiver.receive() == []
    sender.send("first")
    sender.send({"second": [1, 2]})
    assert receiver.receive() == ["first", {"second": [1, 2]}]


@pytest.mark.parametrize("length", [1, 16, 20, 24, 30])
def test_half_a_message_is_waited_for(pipe, length):
    """A message that has begun is none until it is whole, and is not lost."""
    receiver, sender, writer = pipe
    sender.send("whole")
    (data,) = [os.read(receiver.fileno(), 1000)]
    os.write(writer, data[:length])
    assert receiver.receive() == []
    os.write(writer, data[length:])
    assert receiver.receive() == ["whole"]


@pytest.mark.parametrize(
    "garbage",
    [
        b"x",
        b"not of this pipe at all, and long",
        WORD + struct.pack("!Q", MOST_BYTES + 1),
        WORD + struct.pack("!Q", 4) + b"\x80nil",
    ],
)
def test_garbage_is_told(pipe, garbage):
    """What does not begin as a message, is longer than one, or cannot be read is no message."""
    receiver, _, writer = pipe
    os.write(writer, garbage)
    with pytest.raises(GarbageError):
        receiver.receive()


def test_only_the_last_of_what_is_printed_is_kept():
    """However much a process prints, 64 KiB of it stay, whatever letters they are."""
    reader, writer = os.pipe()
    printed = Printed(reader)
    for _ in range(20):
        os.write(writer, b"x" * 2**15)
        printed.receive()
    os.write(writer, b"the end \xff")
    os.close(writer)
    printed.receive()
    assert len(printed.text) == 2**16
    assert printed.text.endswith("xthe end \ufffd")
    printed.receive()
    assert not printed.is_open
