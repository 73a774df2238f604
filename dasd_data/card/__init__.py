"""The data-set card: what is in a split, how it was chosen, how to make it again.

A build's manifest holds the `facts` that its card tells, so that the card of a repository with
several builds is made of their manifests, without a catalog.
"""

from dasd_data.card.facts import gather
from dasd_data.card.page import of_build, of_repository

__all__ = ["gather", "of_build", "of_repository"]
