"""The commands ``schema …``: a store's definitions, and how they compare with those of entities."""
