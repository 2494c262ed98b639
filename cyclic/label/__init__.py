"""`cyclic label`: the page on which a person gives yes/no answers for tiles."""
