/* The query of an address: which parameters a route takes, and their values once they were checked. Owns its
 * text; written by query_read on the HTTP thread, read by any thread afterwards. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "core/base/err.h"

/* What a route takes: ?tenant=; ?limit= and ?after=; ?adapter=, ?from= and ?to=; ?force=; ?label=; ?order=;
 * ?purpose=; ?stream=; and of a list whose clients do not page: without ?limit= it is as long as a page may
 * be. */
enum {
    QUERY_TENANT = 1,
    QUERY_PAGE = 2,
    QUERY_USAGE = 4,
    QUERY_FORCE = 8,
    QUERY_LABEL = 16,
    QUERY_WHOLE = 32,
    QUERY_ORDER = 64,
    QUERY_PURPOSE = 128,
    QUERY_STREAM = 256,
    QUERY_ALL = 511
};
enum { QUERY_PARAMETERS = 11, PAGE_DEFAULT = 100, PAGE_MAX = 1000 };

struct query {
    char *text;                          /* raw, then decoded in place; NULL: there was none */
    const char *value[QUERY_PARAMETERS]; /* in `text`; NULL: not given */
    size_t limit;                        /* of a page */
};

/* `raw`: what stood behind the "?"; NULL: nothing. */
MUST_USE int query_init(struct query *q, const char *raw, struct err *e);
void query_fini(struct query *q);
/* Takes the parameters apart. "unknown_parameter" for those that are not of `takes`, "invalid_parameter". */
MUST_USE int query_read(struct query *q, unsigned takes, struct err *e);
/* NULL: not given. `name` is one of the parameters that there are. */
const char *query_text(const struct query *q, const char *name);
/* What ?order= says; `otherwise` where it says nothing. */
bool query_newest_first(const struct query *q, bool otherwise);
