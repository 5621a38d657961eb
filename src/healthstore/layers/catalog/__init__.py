"""The catalog's word: what a store was made for, and whom it serves besides."""

from __future__ import annotations

from healthstore.layers.catalog.layer import CatalogLayer, CatalogNoticeLayer

__all__ = ("CatalogLayer", "CatalogNoticeLayer")
