"""Changes to files and to what they hold, drawn from a seeded generator: the same seed makes the same case."""

import random
from typing import Any

Value = Any
"""What JSON and YAML hold."""

_PIECES = [
    *(
        b"\0",
        b"\n",
        b"\r\n",
        b"\r",
        b'"',
        b"'",
        b",",
        b";",
        b"\t",
        b"|",
        b":",
        b"[",
        b"]",
        b"{",
        b"}",
        b"#",
        b"&a ",
        b"*a",
    ),
    *(b"\xff", b"\x80", b"\xef\xbb\xbf", b"\xff\xfe", b"\xed\xa0\x80", "\u2028".encode(), "\u0130".encode()),
    *(b"null", b"true", b"-1", b"1e999", b"NaN", b"99999999999999999999", b"!!python/object:os.system ", b"{{ x }}"),
    *(b"\\ud800", b"\\u0000", b"- ", b"? ", b"<<: ", b"=1", b"sep=;\n", b"[" * 2000, b"{" * 2000, b"\xff" * 12),
]
_SCALARS: list[Value] = [
    *(None, True, False, 0, 1, -1, 2**31, 2**63, 2**64, 10**30, 0.5, -0.0, 1e308, float("inf"), float("nan")),
    *("", " ", "x", "..x", "x..y", "../x", "/", "~", "~nobody/x", "a\0b", "\ud800", "\n", "{{ model }}"),
    *("1", "null", "é" * 300),
    *([], {}, [[]], [None], {"": 0}, {"a": {"b": 1}}, ["x", "x"]),
]  # fmt: skip
_KEYS: list[Value] = ["", "x", "on", 100, True, None, 0.5, "__class__", "model_config", "é", "data", "step"]


def mutated_bytes(content: bytes, rng: random.Random) -> bytes:
    """One to four bytes, pieces or stretches changed, lost, doubled or moved."""
    for _ in range(rng.randint(1, 4)):
        at = rng.randint(0, len(content))
        end = min(len(content), at + rng.choice([1, 1, 2, 8, 64, 512]))
        part = content[at:end]
        new = rng.choice(
            [
                b"",
                part + part,
                rng.choice(_PIECES),
                rng.choice(_PIECES) + part,
                rng.randbytes(len(part)),
                _flipped(part, rng),
            ]
        )
        content = content[:at] + new + content[end:]
    return content[: rng.randint(0, len(content))] if rng.random() < 0.05 else content


def _flipped(part: bytes, rng: random.Random) -> bytes:
    if not part:
        return part
    number = rng.randrange(len(part))
    return part[:number] + bytes([part[number] ^ 1 << rng.randrange(8)]) + part[number + 1 :]


def mutated_value(value: Value, rng: random.Random, *, text_keys: bool = True) -> Value:
    """The same tree with one to three entries changed, lost, doubled or under another name."""
    for _ in range(rng.randint(1, 3)):
        value = _mutated_once(value, rng, text_keys)
    return value


def _mutated_once(value: Value, rng: random.Random, text_keys: bool) -> Value:
    if isinstance(value, dict) and value and rng.random() < 0.9:
        return _mutated_table(value, rng, text_keys)
    if isinstance(value, list) and value and rng.random() < 0.9:
        at = rng.randrange(len(value))
        changed = _mutated_once(value[at], rng, text_keys)
        return value[:at] + rng.choice([[changed], [], [value[at]] * 2, [rng.choice(_SCALARS)]]) + value[at + 1 :]
    near = [rng.choice(_SCALARS)]
    if isinstance(value, int | float):
        near += [-value, value + 1, value * 1000, value - 1, str(value), [value]]
    if isinstance(value, str):
        near += [value[:-1], value * 2, value.upper(), value + "\0", [value], {value: value}]
    return rng.choice([near[0], *near])


def _mutated_table(value: dict[Any, Value], rng: random.Random, text_keys: bool) -> Value:
    key, kind = rng.choice(list(value)), rng.random()
    new = rng.choice([name for name in _KEYS if isinstance(name, str) or not text_keys])
    if kind < 0.7:
        return value | {key: _mutated_once(value[key], rng, text_keys)}
    if kind < 0.8:
        return {name: value[name] for name in value if name != key}
    if kind < 0.9:
        return {new if name == key else name: value[name] for name in value}
    return value | {new: rng.choice(_SCALARS)}
