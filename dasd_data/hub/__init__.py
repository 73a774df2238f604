"""Builds as a data set of the Hugging Face Hub: one commit, then the tag."""

from dasd_data.hub.push import Pushed, push

__all__ = ["Pushed", "push"]
