"""The first part of training dsa: every key is read, and nothing learns but the indexer (DeepSeek-V3.2-Exp, dense warm-up)."""
from kinds import dsa


class Attention(dsa.Attention):
    READS_ALL = True

    trains = staticmethod(dsa.Attention.begins_without)
