/* What peft.c (values, version, effect) and peft_place.c (names and shapes) share of one upload. One thread.
 */
#pragma once
#include "adapters/peft/peft_config.h"
#include "adapters/peft/peft_match.h"
#include "core/format/safetensors.h"

#define PEFT_PREFIX "base_model.model."

/* One site's tensors and what was found in them. */
struct peft_site {
    const struct tensor *a, *b, *magnitude;
    double a_max, b_max; /* largest magnitudes; 0 of what was stored */
};

/* The file's tensor in the place of one of the base's. */
struct peft_slot {
    const struct tensor *tensor; /* NULL: none */
    bool differs;                /* from the base's */
    const float *values;         /* of one that differs; the result's */
};

struct peft;

struct peft_load {
    const struct model *model;
    const struct site *sites;
    const struct slot *slots;
    size_t site_count, slot_count;
    struct peft_config config;
    struct peft_target *targets;  /* owned, [site_count] */
    bool *saved;                  /* owned, [slot_count]: modules_to_save has it */
    struct peft_site *site_found; /* [site_count], the result's */
    struct peft_slot *slot_found; /* owned, [slot_count] */
    struct safetensors *weights;  /* the result's */
    int weights_fd;               /* the result's */
    unsigned options;             /* enum peft_options */
    struct peft *result;          /* owned until it is handed over */
};

/* What a tensor of the file is; the index is a site's, or of PEFT_ROLE_BASE and
 * PEFT_ROLE_COPY a slot's. */
enum peft_role {
    PEFT_ROLE_A,
    PEFT_ROLE_B,
    PEFT_ROLE_MAGNITUDE,
    PEFT_ROLE_BASE,
    PEFT_ROLE_COPY, /* of a slot, which PEFT saves beside it and does not use */
};
struct peft_place {
    enum peft_role role;
    int index;
};

/* Errors: "adapter_unexpected_tensor", "adapter_unknown_module". */
int peft_place_find(const struct peft_load *l, const struct tensor *t, struct peft_place *out, struct err *e);
/* Give every tensor its one place, see that none is missing, and check the shapes. Errors also:
 * "adapter_missing_tensor", "adapter_shape_mismatch". */
int peft_place_all(struct peft_load *l, struct err *e);
