"""healthstore: one entity, one repository, five backends."""

__version__ = "0.1.0"
