"""Embeddings without a model: equal texts are equal, texts that share words are near."""

import hashlib
import math
import re

from .messages import Refused

DIMENSIONS = 384


def embed(text: str) -> list[float]:
    """Return a unit vector: every word, and every three letters of one, adds to one direction."""
    vector = [0.0] * DIMENSIONS
    for word in re.findall(r"\w+", text.lower()) or [text]:
        for piece in {word, *(word[at : at + 3] for at in range(len(word) - 2))}:
            digest = hashlib.sha256(piece.encode()).digest()
            sign = 1.0 if digest[0] % 2 else -1.0
            vector[int.from_bytes(digest[1:5], "big") % DIMENSIONS] += sign
    length = math.hypot(*vector)
    if not length:
        # all pieces cancelled out; cosine distance is undefined for a vector of zeros
        vector[0] = length = 1.0
    return [value / length for value in vector]


def as_vector(embedding: object) -> str:
    """Return an embedding as pgvector reads it; refuse what cannot be one."""
    if not isinstance(embedding, list) or len(embedding) != DIMENSIONS:
        raise Refused(400, f"embedding is not a list of {DIMENSIONS} numbers")
    for value in embedding:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not abs(value) < 1e30:
            raise Refused(400, "embedding holds something that is not a number")
    if not any(embedding):
        raise Refused(400, "embedding is all zeros, which has no direction")
    return "[" + ",".join(repr(float(value)) for value in embedding) + "]"
