"""The shapes of tasks: the paper's, and some that need no download.

The length of a GLUE task is that of its longest example after RoBERTa's tokenizer, or the model's
limit of 512; its batch size is that of the Fairseq recipe whose settings the paper uses. The
paper's other data set is OGBN-arxiv. Reviews, as long as the longest after BERT's tokenizer,
digits, text and the block model come with the software or a package, or are generated.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Task:
    """The shape of one task.

    Attributes:
        label: The name in the paper's style.
        batch_size: Examples per step; for a graph, which is trained on as a whole, its nodes.
        seq_len: Padded length in tokens; None if there are no sequences.
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
    "reviews": Task("reviews", 32, 78),
    "digits": Task("digits", 32, 64, 10),
    "text": Task("text", 16, 128, 256),
    "sbm": Task("SBM", 2000, None, 8),
    "arxiv": Task("OGBN-arxiv", 169_343, None, 40),
}
