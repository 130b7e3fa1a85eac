/* One upload on its way from two files to a delta_source, and the stages that it goes through, in their
 * order. Part of peft.h's implementation. One thread. */
#pragma once
#include "adapters/peft/config/peft_config.h"
#include "adapters/peft/config/peft_pattern.h"
#include "adapters/types/warnings.h"
#include "core/base/sha256.h"
#include "core/delta/delta.h"
#include "core/format/safetensors.h"
#include "core/head/head.h"
#include "core/model/model.h"

#define PEFT_PREFIX "base_model.model."
enum { PEFT_KEPT = 6 };

/* What the config says about a site. */
struct peft_target {
    bool targeted;
    int rank;     /* 1..DELTA_RANK_MAX */
    double scale; /* finite as f32 */
};

/* lm_head and the embedding of a base in which they are one matrix: their sites and the parameters of their
 * weights; -1 elsewhere. */
struct peft_tied {
    int embedding, head, embedding_parameter, head_parameter;
    bool saves;   /* ensure_weight_tying: both are saved, with one content */
    bool targets; /* both are targets, lm_head's A and B being the embedding's B and A turned */
};

/* One site's tensors, also by enum delta_value, and what was found in them. */
struct peft_site {
    union {
        struct {
            const struct tensor *a, *b, *magnitude;
        };
        const struct tensor *tensors[DELTA_VALUES];
    };
    double largest[DELTA_VALUES]; /* magnitudes of their numbers; 0 of what was stored */
    bool turned;                  /* a and b are the tied embedding's B and A */
};

/* The file's tensor in the place of one of the base's. */
struct peft_parameter {
    const struct tensor *tensor; /* NULL: none */
    bool differs;                /* from the base's */
    const float *values;         /* of one that differs, of the base's shape; the result's */
    const float *more;           /* rows behind the base's, of one that has them; the result's */
};

struct peft;

/* Rows of a matrix that the file has: trainable_token_indices. */
struct peft_rows {
    json_t *indices; /* the config's, in order of the file's rows; NULL: none */
    int source; /* the parameter whose tensor it is: its own, or the embedding's for lm_head that follows it
                 */
    const struct tensor *tensor; /* of the source */
    int count;                   /* each index once, ascending; the result's */
    const int32_t *index;
    const float *values;
    bool differs; /* from the base's */
};

/* What gives labels: its tensors, and what is made of them. */
struct peft_head {
    const struct tensor *weight, *bias; /* NULL: there is none */
    struct head *head;                  /* owned reference */
};

struct peft_load {
    const struct model *model;
    const struct site *sites;
    const struct parameter *parameters;
    size_t site_count, parameter_count;
    struct peft_config config;
    struct peft_tied tied;
    struct peft_head head;
    int vocab;          /* tokens that it was trained with: rows of the embedding and of lm_head */
    const char *inside; /* what paths of the base's modules have in front and the adapter's have not */
    struct peft_target *targets;            /* owned, [site_count] */
    bool *saved;                            /* owned, [parameter_count]: modules_to_save has it */
    struct peft_site *site_found;           /* [site_count], the result's */
    struct peft_parameter *parameter_found; /* owned, [parameter_count] */
    struct peft_rows *rows;                 /* owned, [parameter_count] */
    void **kept; /* the result's, with room for PEFT_KEPT for each parameter: memory that it keeps */
    size_t kept_count;
    int64_t elements;              /* of what replaces the base's */
    uint8_t version[SHA256_BYTES]; /* zeros of what was stored */
    struct safetensors *weights;   /* the result's */
    bool has_copies;               /* tensors that are not used */
    int weights_fd;                /* the result's */
    struct peft *result;           /* owned until it is handed over */
    bool stored, allow_no_effect;  /* the options */
    struct warnings *warnings;     /* the result's; NULL: nobody wants to know */
};

/* ---- what modules are called ---- */

/* AutoModel gives the network without its head, and its modules no "model." in front: what such a one was
 * trained as (task_type FEATURE_EXTRACTION) is told by the names of its tensors. Fills inside. */
void peft_path_find(struct peft_load *l);
/* A module's path as the adapter has it; NULL: it is no part of the network that the adapter was made for. */
const char *peft_path(const struct peft_load *l, const char *path);

/* ---- which sites of the base are targeted, with which rank and scale ---- */

/* Fills targets and tied. Source: check_target_module_exists, _maybe_include_all_linear_layers and
 * _check_tied_modules (peft/tuners/tuners_utils.py), LoraModel._add_targets_to_tie. Errors:
 * "adapter_unknown_module", "adapter_unsupported_feature", those of peft_rank. */
int peft_match(struct peft_load *l, struct err *e);
/* Rank and scale of each target. Source: get_pattern_key (peft/utils/other.py),
 * LoraModel._create_and_replace. Errors: "adapter_rank_too_large", "adapter_not_finite",
 * "config_malformed". */
int peft_rank(struct peft_load *l, struct peft_patterns *patterns, struct err *e);
/* Fills saved. Source: _set_trainable (peft/utils/other.py), LoraModel._add_modules_to_save_to_tie. Error:
 * "adapter_unsupported_feature" where a module is a target, too. */
int peft_saved(struct peft_load *l, struct err *e);

/* Fills rows. Source: set_additional_trainable_modules (peft/utils/other.py), TrainableTokensLayer. Errors:
 * "adapter_unknown_module", "adapter_shape_mismatch" (an index), "adapter_unsupported_feature",
 * "config_malformed". */
int peft_rows(struct peft_load *l, struct err *e);
/* Put the rows that the file has for the parameter, [indices, columns], into the order of their indices.
 * Error: "adapter_unsupported_feature" where one is there twice, with different values. */
int peft_rows_sort(struct peft_load *l, int parameter, const float *values, struct err *e);

/* ---- a base in which lm_head and the embedding are one matrix ---- */

/* Fills tied, but for what the config says. */
void peft_tied_find(struct peft_load *l);
/* The parameter that shares its matrix with this one, or -1. */
int peft_tied_partner(const struct peft_load *l, int parameter);
/* Where both are targets and the file has one side's A and B alone: they are the other's, turned. */
void peft_tied_complete(struct peft_load *l);
/* Where it has both: are they the same? Once their values were looked at. Error:
 * "adapter_unsupported_feature". */
int peft_tied_check(struct peft_load *l, struct err *e);
/* A tensor's matrix [rows, columns] as [columns, rows]. */
int peft_tied_read(int fd, const struct tensor *t, float *out, struct err *e);

/* ---- what each tensor of the file is ---- */

/* First the values of a site, by enum delta_value. The index is a site's, or from PEFT_ROLE_BASE on a
 * parameter's. */
enum peft_role {
    PEFT_ROLE_BASE = DELTA_VALUES,
    PEFT_ROLE_ROWS,     /* of a parameter */
    PEFT_ROLE_COPY,     /* of a parameter, which PEFT saves beside it and does not use */
    PEFT_ROLE_ORIGINAL, /* the same of a saved parameter, as it was before training */
    PEFT_ROLE_HEAD,     /* the head's weight, or with index 1 its bias */
    PEFT_ROLE_HEAD_COPY /* of which PEFT saves others beside it that it does not use */
};
struct peft_place {
    int role; /* enum delta_value or enum peft_role */
    int index;
    int name_at,
        name_length; /* the adapter's name in the tensor's, with its dot; of length 0: there is none */
};

/* Errors: "adapter_unexpected_tensor", "adapter_unknown_module". */
int peft_place_find(const struct peft_load *l, const struct tensor *t, struct peft_place *out, struct err *e);
/* Give every tensor its one place, see that none is missing, and check the shapes. Errors also:
 * "adapter_missing_tensor", "adapter_shape_mismatch". */
int peft_place_all(struct peft_load *l, struct err *e);

/* ---- a vocabulary of the adapter's own ---- */

/* Is it the embedding of tokens, or lm_head? */
bool peft_vocab_has(const struct peft_load *l, int parameter);
/* Its rows as the adapter has them. */
int peft_vocab_rows(const struct peft_load *l, int parameter);
/* Fills vocab, once tensors are placed. Source: resize_token_embeddings of transformers; PEFT then saves both
 * matrices. Error: "adapter_shape_mismatch" where they do not agree, or there are too many or too few. */
int peft_vocab_find(struct peft_load *l, struct err *e);
/* The rows behind the base's that count for a parameter, [vocab - the base's, columns]; NULL: there are none.
 */
const float *peft_vocab_more(const struct peft_load *l, int parameter);
/* Rows of the result for a parameter: those of trainable_token_indices, and those behind the base's. */
int peft_vocab_merge(struct peft_load *l, int parameter, struct delta_rows *out, struct err *e);

/* ---- the head of an adapter that gives labels ---- */

/* Where no task_type says so: an adapter that saves the head of a base with labels has labels, too. */
void peft_head_settle(struct peft_load *l);
/* Is this module the head, of an adapter that has one? */
bool peft_head_named(const struct peft_load *l, const char *name);
MUST_USE int peft_head_add(struct peft_load *l, const struct tensor *t, bool bias, struct err *e);
/* Is it whole and of the right shape? */
MUST_USE int peft_head_check(struct peft_load *l, struct err *e);
/* With zeros; the config's names and meaning. Errors: "config_malformed". */
MUST_USE int peft_head_new(struct peft_load *l, struct err *e);
void peft_head_hash(const struct peft_load *l, struct sha256 *version);

/* ---- what they hold ---- */

/* Looks at every number: all are finite; what differs from the base is kept; fills version. Errors:
 * "adapter_not_finite", those of the others. */
int peft_values(struct peft_load *l, struct err *e);
