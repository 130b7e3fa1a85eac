/* What an adapter's own settings mean on this base: its chat template, its end tokens, its makers' sampling
 * defaults. Compiled when a request needs them first, and kept by content for the next ones.
 *
 * Of transformers' files: the special tokens and the chat template of tokenizer_config.json (a
 * chat_template.jinja goes before the latter) stand in the place of the base's; its eos_token ends answers
 * beside what ends the base's. eos_token_id of generation_config.json says all end tokens, and the file's
 * defaults are those of the adapter. Tokens that the base's tokenizer does not have (added_tokens_decoder of
 * tokenizer_config.json; an added_tokens.json as transformers 4 wrote it, or with the list of tokenizer.json)
 * are its own, if there are rows for them. Any thread. */
#pragma once
#include "adapters/registry/registry.h"
#include "adapters/types/settings_files.h"
#include "adapters/types/warnings.h"
#include "core/model/model.h"
#include "core/template/chat.h"
#include "core/tokenizer/tokenizer.h"

enum { SETTINGS_KEPT = 64, SETTINGS_ENDS_MAX = MODEL_EOS_MAX + 1 };

/* Immutable, reference-counted. */
struct settings {
    struct chat *chat;
    struct tokenizer *tokenizer; /* owned, the base's with further tokens; NULL: the base's */
    int32_t ends[SETTINGS_ENDS_MAX];
    int end_count;
    struct generation generation; /* the adapter's where it has a file, otherwise the base's */
};
struct settings *settings_ref(struct settings *s);
void settings_unref(struct settings *s); /* NULL is fine */

/* What they are read on; borrowed. Tokenizer and chat are NULL for a numeric base. */
struct settings_base {
    const struct model *model;
    const struct tokenizer *tokenizer;
    const struct chat *chat;
    bool no_generation; /* sampling defaults of generation_config.json are not taken */
};

/* For an adapter with `vocab` tokens; 0: as many as the base has. Errors: "config_malformed",
 * "input_unsupported" (numeric base), "out_of_memory". `w`, which may be NULL: what will not work, such as a
 * template that is not supported. */
MUST_USE int settings_new(struct settings **out, const struct settings_base *base, int vocab,
                          const struct settings_files *files, struct warnings *w, struct err *e);
/* Do they change nothing on this base? */
bool settings_are_base(const struct settings *s, const struct settings_base *base);

struct settings_cache;
MUST_USE int settings_cache_new(struct settings_cache **out, struct registry *r,
                                const struct settings_base *base, struct err *e);
void settings_cache_free(struct settings_cache *c); /* NULL is fine */
/* The files of a version as they came; none where it has none. Reads the disk. */
MUST_USE int settings_cache_files(struct settings_cache *c, const struct version *v,
                                  struct settings_files *out, struct err *e);
/* Those of a version, a new reference; NULL where it has none. May read the disk. Errors: those of
 * settings_new and registry_version_settings. */
MUST_USE int settings_cache_get(struct settings_cache *c, const struct version *v, struct settings **out,
                                struct err *e);
