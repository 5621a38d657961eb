"""Floor 2: one adapter for each kind of database. Adapters never import each other."""
