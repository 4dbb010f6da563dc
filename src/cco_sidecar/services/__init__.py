"""One package per service of orchestra.v1: a servicer, and one file per operation. Services do not import each
other."""
