"""Who holds the trust of a mesh, stored or in memory, and whether each holds the root that signs now."""
