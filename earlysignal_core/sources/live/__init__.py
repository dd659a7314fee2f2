"""Live providers: clients that take what they are told at no more than it is worth, and a source over them."""
