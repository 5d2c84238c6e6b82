"""Figures drawn from records, one file each. To add one, add its file and its line here."""

from rmmbench.registry import Entry, Registry
from rmmbench.report.figures._write import FORMATS, write
from rmmbench.report.figures.figure import Figure, FigureData

__all__ = ["FIGURES", "FORMATS", "Figure", "FigureData", "get", "names", "write"]

FIGURES: Registry[type[Figure]] = Registry(
    "figure",
    __name__,
    {
        "figure2": Entry("figure2:Figure2", "peak memory by batch size, relative throughput by ρ"),
        "figure3": Entry("figure3:Figure3", "a sketch's noise ÷ SGD's by step, with its bound"),
        "figure5": Entry("figure5:Figure5", "input and output gradient's correlation by step"),
        "noise": Entry("noise:Noise", "gradient noise of every sketch by ρ, predicted and drawn"),
        "figure8": Entry("figure8:Figure8", "memory through a step and an epoch, by category"),
        "figure4": Entry("figure4:Figure4", "training and evaluation loss by ρ"),
        "figure7": Entry("figure7:Figure7", "score by epoch, one line a method"),
        "scores": Entry("scores:Scores", "score and training time by sketch and ρ"),
        "table2": Entry("table2:Table2", "score by task and ρ"),
        "table3-memory": Entry("table3_memory:Table3Memory", "peak memory saved by task and ρ"),
        "table3-matmul": Entry("table3_matmul:Table3Matmul", "step time by sketch and ρ"),
        "linear": Entry(
            "layer_throughput:Linear", "one layer: speed and saved bytes by rows and ρ"
        ),
        "frontier": Entry("frontier:Frontier", "speed, memory and gradient error of every method"),
        "counts": Entry(
            "counted_work:CountedWork", "operations, bytes moved and operator calls ÷ exact's"
        ),
        "sketch-cost": Entry(
            "sketch_cost:SketchCost", "a sketch's time beside its layer's product"
        ),
    },
)


def names() -> list[str]:
    """Return the names of all figures."""
    return FIGURES.names()


def get(name: str) -> Figure:
    """Return the figure called `name`.

    Raises:
        UnknownNameError: If there is none.
    """
    return FIGURES.get(name)()
