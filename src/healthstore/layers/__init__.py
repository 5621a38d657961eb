"""Floor 2: layers, one concern each. Layers never import each other or an adapter."""
