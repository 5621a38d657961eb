"""Repositories: an entity's documents, by typed verbs."""

from __future__ import annotations

from healthstore.repository.children import Children
from healthstore.repository.pages import MAX_PAGE, Page
from healthstore.repository.repository import Repository
from healthstore.repository.subqueries import Subquery

__all__ = ("MAX_PAGE", "Children", "Page", "Repository", "Subquery")
