"""What is still to be cut; the list only becomes shorter, and goes."""

ARROWS = {
    "adapters/blobs/blob_list.h may not include adapters/registry/registry.h",
    "adapters/blobs/retired.h may not include adapters/registry/registry.h",
    "adapters/blobs/version.h may not include adapters/registry/registry.h",
    "adapters/store/sqlite/store_private.h may not include adapters/store/store.h",
    "adapters/store/store.h may not include adapters/registry/registry.h",
    "adapters/types/name.c may not include adapters/registry/registry.h",
    "adapters/types/usage.h may not include adapters/registry/registry.h",
}

CIRCLES = [
    {"core/kernels/x86/qgemm_avx2", "core/kernels/x86/qgemm_avx2_wide"},
    {"core/engine/engine", "core/engine/engine_loop", "core/engine/engine_private", "core/engine/sampler", "core/engine/sequence"},
    {"adapters/blobs/blob_list", "adapters/blobs/retired", "adapters/blobs/version", "adapters/registry/audit", "adapters/registry/catalog", "adapters/registry/registry", "adapters/registry/registry_private", "adapters/store/sqlite/query", "adapters/store/sqlite/store_open", "adapters/store/sqlite/store_private", "adapters/store/store", "adapters/types/name", "adapters/types/usage"},
    {"adapters/registry/registry_adapters", "adapters/registry/registry_versions"},
    {"adapters/serving/cache", "adapters/serving/cache_private", "adapters/serving/version_load"},
]
