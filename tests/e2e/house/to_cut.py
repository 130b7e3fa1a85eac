"""What is still to be cut; the list only becomes shorter, and goes."""

ARROWS = {
}

CIRCLES = [
]
