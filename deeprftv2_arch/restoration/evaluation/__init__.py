"""How good a network is on photographs: synthetic pairs, sharp photographs, really blurred scenes, classic filters."""
