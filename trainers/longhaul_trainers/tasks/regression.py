"""What tasks have in common that ask for numbers at every step.

T time steps, B sequences, O outputs.
"""

from collections.abc import Mapping

from torch import Tensor
from torch.nn.functional import mse_loss

from longhaul_trainers.tasks.base import Better, Task


class RegressionTask(Task):
    """Numbers (T, B, O) are predicted at every step; trained by their mean squared error.

    The papers report its root over a whole set, which is not the mean of the roots over its parts.
    """

    reads = "every"

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean squared error; both arguments are (T, B, O)."""
        return mse_loss(outputs, targets)

    @property
    def better(self) -> Mapping[str, Better]:
        """See `Task.better`."""
        return {"loss": "lower", "rmse": "lower", "nrmse": "lower"}

    def metrics(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """``target_power``: the targets' mean square, from which `summary` makes ``nrmse``."""
        return {"target_power": targets.square().mean()}

    def summary(self, means: dict[str, Tensor]) -> dict[str, Tensor]:
        """``rmse``, and ``nrmse``, which is that over the targets' root mean square.

        See `Task.summary`.
        """
        rmse = means["loss"].sqrt()
        nrmse = rmse / means["target_power"].sqrt()
        return {"loss": means["loss"], "rmse": rmse, "nrmse": nrmse}


def numbers_example(inputs: Tensor, targets: Tensor) -> str:
    """One sequence as aligned rows of numbers: its beginning, its end, and how long it is.

    Args:
        inputs: one number at each of the T steps, (T,).
        targets: as many.
    """
    steps = len(inputs)
    shown = list(range(steps)) if steps <= 12 else [*range(7), None, *range(steps - 5, steps)]
    rows = [
        f"{name:<8}" + " ".join(f"{'…' if t is None else f'{row[t]:.2f}':>6}" for t in shown)
        for name, row in (("input", inputs.tolist()), ("target", targets.tolist()))
    ]
    return "\n".join([*rows, f"({steps} steps)"])
