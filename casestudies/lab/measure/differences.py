"""How far what ranks found together is from what one process found."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def largest_relative_difference(
    losses: Sequence[float],
    gradients: Mapping[str, NDArray[Any]],
    expected_losses: Sequence[float],
    expected_gradients: Mapping[str, NDArray[Any]],
) -> float:
    """Return that of a loss, or of the gradient of a weight by norms.

    Raises KeyError where a gradient is missing, ValueError for another number of losses.
    """
    norm = np.linalg.norm
    return max(
        *(abs(own / other - 1) for own, other in zip(losses, expected_losses, strict=True)),
        *(
            float(norm(gradients[name] - other) / norm(other))
            for name, other in expected_gradients.items()
        ),
    )
