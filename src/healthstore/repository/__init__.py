"""Repositories: an entity's documents, by typed verbs."""

from __future__ import annotations

from healthstore.repository.pages import Page
from healthstore.repository.repository import MAX_PAGE, Repository
from healthstore.repository.subqueries import Subquery

__all__ = ("MAX_PAGE", "Page", "Repository", "Subquery")
