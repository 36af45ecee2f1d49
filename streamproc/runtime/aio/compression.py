"""lz4 at its fast level. aiokafka's is the highest: 8 times as long for a tenth less."""

from typing import Any

import cramjam

LEVEL = 1


def lz4_encode(payload: Any) -> bytes:
    """Return a frame as Kafka takes it: its blocks stand alone, and there is no checksum of the whole."""
    compressor = cramjam.lz4.Compressor(level=LEVEL, content_checksum=False, block_linked=False)
    compressor.compress(payload)
    return bytes(compressor.finish())
