"""Sentences: cut a response into spans that tile it, each with its kind and section."""

from builders.segment.kinds import KINDS
from builders.segment.segmenter import SECTIONS, SEGMENTER, Sentences, segment, segment_text

__all__ = ["KINDS", "SECTIONS", "SEGMENTER", "Sentences", "segment", "segment_text"]
