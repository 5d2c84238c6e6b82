"""Workloads by task: what the paper trains on, and what anyone can without a download, as shapes.

GLUE's lengths are the longest example of the task after RoBERTa's tokenizer, or the model's limit
of 512; batch sizes are those of the Fairseq recipe that the paper takes its settings from. The
paper's other data set is OGBN-arxiv. Digits, text and the block model come with the software or
are made.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Task:
    """One task as a training workload.

    Attributes:
        label: The name as the paper prints it, or would.
        batch_size: Examples a step; of a graph, which is trained on as a whole, its nodes.
        seq_len: Padded length, in tokens; None where nothing is a sequence.
        num_labels: Classes; 1 is regression.
    """

    label: str
    batch_size: int
    seq_len: int | None
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
    "digits": Task("digits", 32, 64, 10),
    "text": Task("text", 16, 128, 256),
    "sbm": Task("SBM", 2000, None, 8),
    "arxiv": Task("OGBN-arxiv", 169_343, None, 40),
}
