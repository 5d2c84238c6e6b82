"""Workloads by GLUE task: what the paper fine-tunes on, as shapes.

Lengths are the longest example of the task after RoBERTa's tokenizer, or the model's limit of 512;
batch sizes are those of the Fairseq recipe that the paper takes its settings from.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Task:
    """One GLUE task as a training workload.

    Attributes:
        label: The name as the paper prints it.
        batch_size: Examples a step.
        seq_len: Padded length, in tokens.
        num_labels: Classes; 1 is regression.
    """

    label: str
    batch_size: int
    seq_len: int
    num_labels: int = 2


TASKS = {
    "cola": Task("CoLA", 16, 47),
    "mnli": Task("MNLI", 32, 512, 3),
    "mrpc": Task("MRPC", 16, 103),
    "qnli": Task("QNLI", 32, 512),
    "qqp": Task("QQP", 32, 512),
    "rte": Task("RTE", 16, 289),
    "sst2": Task("SST2", 32, 66),
    "stsb": Task("STS-B", 16, 125, 1),
    "wnli": Task("WNLI", 16, 108),
}
