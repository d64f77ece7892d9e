"""Search spaces: configurations with holes, and what a search over one is made of."""
