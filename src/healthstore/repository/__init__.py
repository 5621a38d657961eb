"""Repositories: an entity's documents, by typed verbs."""

from __future__ import annotations

from healthstore.repository.adding import AddedMany, Refusal
from healthstore.repository.children import Children
from healthstore.repository.pages import MAX_PAGE, Page
from healthstore.repository.repository import Repository
from healthstore.repository.requests import REMEMBERED
from healthstore.repository.subqueries import Subquery
from healthstore.repository.upserts_of_many import UpsertCounts

__all__ = (
    "MAX_PAGE",
    "REMEMBERED",
    "AddedMany",
    "Children",
    "Page",
    "Refusal",
    "Repository",
    "Subquery",
    "UpsertCounts",
)
