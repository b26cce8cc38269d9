"""What a training changes for its whole process: random generators, and the states that accelerate shares."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from accelerate.state import AcceleratorState, GradientState, PartialState


def random_state() -> dict[str, Any]:
    """The states of all random generators; a user's loss may use NumPy's and Python's."""
    name, keys, *rest = np.random.get_state(legacy=True)  # noqa: NPY002 - the global generator, which users draw from
    cuda = torch.cuda.get_rng_state() if torch.cuda.is_initialized() else None
    numpy = (name, np.asarray(keys).tolist(), *rest)
    return {"torch": torch.get_rng_state(), "cuda": cuda, "numpy": numpy, "python": random.getstate()}


def restore_random(state: dict[str, Any]) -> None:
    """Put the generators back into the states of :func:`random_state`."""
    torch.set_rng_state(state["torch"])
    if state["cuda"] is not None:
        torch.cuda.set_rng_state(state["cuda"])
    np.random.set_state(state["numpy"])  # noqa: NPY002 - as above
    random.setstate(state["python"])


@contextmanager
def left_as_found() -> Iterator[None]:
    """Put back what the body changes for the whole process: random generators, and the states that accelerate shares.

    The process may be an app that draws numbers and trains with accelerate itself.
    """
    generators = random_state()
    states = [(kind._shared_state, {**kind._shared_state}) for kind in (AcceleratorState, GradientState, PartialState)]
    try:
        yield
    finally:
        restore_random(generators)
        for state, before in states:  # an app's Accelerator holds the state itself
            state.clear()
            state.update(before)
