/* The files of versions that were deleted while somebody still uses them: requests under way, loads,
 * downloads. They stay on disk until the last of these lets go.
 *
 * All objects that tell of one version share its struct version_files and keep it alive. The registry's
 * writer marks the files of a deleted version as retired; the last version_unref, on whatever thread, puts
 * them on the list of those to be removed and wakes `work`. Nothing here touches the disk: the writer removes
 * them. */
#pragma once
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "adapters/types/rows.h"
#include "core/base/hashtable.h"

struct retired {
    pthread_mutex_t lock;             /* over all that follows; taken last */
    pthread_cond_t work;              /* something is unused, or `stopping` */
    struct hashtable config, weights; /* retired files by the names of their blobs */
    struct version_files *unused;
    bool stopping;
};

struct version_files { /* made and freed by version.c */
    atomic_uint references;
    _Atomic(struct retired *) retired; /* NULL: not deleted */
    struct hashtable_link by_config, by_weights;
    struct version_files *next;
    char config_blob[SHA256_HEX + 1], weights_blob[SHA256_HEX + 1];
};

MUST_USE int retired_init(struct retired *d, struct err *e);
void retired_fini(struct retired *d); /* frees what is unused; what is not must be gone by then */

/* The writer, who holds a reference to `v`: its files go with its last use. */
void retired_add(struct retired *d, const struct version *v);
/* Does a version that was deleted still use this blob? Any thread. */
bool retired_uses(struct retired *d, const char *blob);
/* The last reference is gone. Any thread. */
void retired_release(struct retired *d, struct version_files *f);
/* One that nobody uses any more, for the caller to free(); NULL: none. */
struct version_files *retired_take(struct retired *d);
/* Wait for something unused; false: stop. */
bool retired_wait(struct retired *d);
void retired_stop(struct retired *d);
