"""How a cell's hidden-to-hidden matrix is made from its free parameters, one family a file."""
