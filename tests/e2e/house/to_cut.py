"""What is still to be cut; the list only becomes shorter, and goes."""

ARROWS = {
}

CIRCLES = [
    {"core/engine/engine", "core/engine/engine_loop", "core/engine/engine_private", "core/engine/sampler", "core/engine/sequence"},
]
