/* Files that nobody needs any more: those of deleted versions go with their last use, at once or by a thread
 * of its own, and none goes while somebody reads all of them. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "adapters/registry/registry_private.h"
#include "adapters/store/files.h"

enum { REMOVED_AT_ONCE = 64, PAUSE_NS = 100000 }; /* versions whose files go, while others wait */
enum { HOLDS_MAX = 4 };

int gc_blob_used(struct registry *r, const char *digest, bool *out, struct err *e)
{
    *out = true;
    return retired_uses(&r->retired, digest) ? 0 : store_blob_used(r->store, digest, out, e);
}

static void remove_unused(struct registry *r, const char *digest, bool touched[256])
{
    bool used = true;
    uint8_t bytes[SHA256_BYTES];
    struct err ignored; /* a file that stays behind is swept by the next start */
    if (r->holds > 0) {
        r->sweep_due = true;
        return;
    }
    if (gc_blob_used(r, digest, &used, &ignored) != 0 || used)
        return;
    blobs_remove(&r->blobs, digest);
    if (hex_decode(digest, bytes, sizeof bytes) == 0)
        touched[bytes[0]] = true;
}

static void sync_shelves(struct registry *r, const bool touched[256])
{
    for (unsigned shelf = 0; shelf < 256; shelf++) {
        char name[3];
        struct err ignored;
        snprintf(name, sizeof name, "%02x", shelf & 0xff);
        if (touched[shelf] && blobs_sync(&r->blobs, name, &ignored) != 0)
            atomic_store(&r->failed, true);
    }
}

void gc_retire(struct registry *r, const struct version *v)
{
    retired_add(&r->retired, v);
}

/* As many as go at once; are there more? */
static bool remove_some(struct registry *r, bool touched[256])
{
    struct version_files *f = NULL;
    for (int i = 0; i < REMOVED_AT_ONCE && (f = retired_take(&r->retired)); i++) {
        /* In doubt about what is on disk nothing is removed: the next start decides. */
        if (!store_failed(r->store) && !atomic_load(&r->failed)) {
            remove_unused(r, f->config_blob, touched);
            remove_unused(r, f->weights_blob, touched);
        }
        free(f);
    }
    return f != NULL;
}

void gc_collect(struct registry *r)
{
    bool touched[256] = {false};
    remove_some(r, touched);
    sync_shelves(r, touched);
}

void gc_collect_all(struct registry *r)
{
    bool touched[256] = {false}, more = true;
    while (more) {
        pthread_mutex_lock(&r->writer);
        more = remove_some(r, touched);
        writer_end(r);
        nanosleep(&(struct timespec){.tv_nsec = PAUSE_NS}, NULL);
    }
    sync_shelves(r, touched);
}

static void *remover_main(void *arg)
{
    struct registry *r = arg;
    while (retired_wait(&r->retired))
        gc_collect_all(r);
    return NULL;
}

int gc_start(struct registry *r, struct err *e)
{
    if (pthread_create(&r->remover, NULL, remover_main, r) != 0)
        return err_set(e, "out_of_memory", "cannot start a thread");
    pthread_setname_np(r->remover, "remover");
    r->has_remover = true;
    return 0;
}

/* ---- files ---- */

/* Blobs of deleted files; *any: there were some. */
static int remove_gone(struct registry *r, bool touched[256], bool *any, struct err *e)
{
    char blob[SHA256_HEX + 1] = "";
    for (;;) {
        if (store_file_gone(r->store, blob, blob, e) != 0)
            return -1;
        if (!blob[0])
            return 0;
        *any = true;
        remove_unused(r, blob, touched);
    }
}

static int forget_gone(struct registry *r, struct err *e)
{
    char blob[SHA256_HEX + 1] = "";
    if (store_begin(r->store, e) != 0)
        return -1;
    int result;
    while ((result = store_file_gone(r->store, "", blob, e)) == 0 && blob[0])
        if ((result = store_file_forget(r->store, blob, e)) != 0)
            break;
    return store_end(r->store, result == 0, e);
}

void gc_collect_files(struct registry *r)
{
    bool touched[256] = {false}, any = false;
    struct err ignored; /* their rows stay: the next call, or the next start, does it */
    if (r->holds > 0 || store_failed(r->store) || atomic_load(&r->failed) ||
        remove_gone(r, touched, &any, &ignored) != 0 || !any)
        return;
    sync_shelves(r, touched);
    if (!atomic_load(&r->failed) && forget_gone(r, &ignored) != 0)
        return;
}

void gc_remove_blob(struct registry *r, const char *digest)
{
    bool touched[256] = {false};
    if (store_failed(r->store) || atomic_load(&r->failed))
        return;
    remove_unused(r, digest, touched);
    sync_shelves(r, touched);
}

void gc_stop(struct registry *r)
{
    if (!r->has_remover)
        return;
    retired_stop(&r->retired);
    pthread_join(r->remover, NULL);
    gc_collect_all(r);
}

/* ---- for those who read blobs for long ---- */

int gc_hold(struct registry *r, struct err *e)
{
    if (r->holds >= HOLDS_MAX) {
        err_set(e, "overloaded", "%d backups and checks are running, the most at the same time", HOLDS_MAX);
        return err_hint(e, "wait until one of them is done");
    }
    r->holds++;
    return 0;
}

static int blob_used(void *arg, const char *digest, bool *out, struct err *e)
{
    return gc_blob_used(arg, digest, out, e);
}

void gc_release(struct registry *r)
{
    size_t removed = 0;
    struct err e;
    pthread_mutex_lock(&r->writer);
    assert(r->holds > 0);
    bool due = --r->holds == 0 && r->sweep_due && !atomic_load(&r->failed);
    if (due) /* what could not be swept is due with the next one, or the next start */
        r->sweep_due = blobs_sweep(&r->blobs, false, blob_used, r, &removed, &e) != 0;
    gc_collect_files(r);
    writer_end(r);
}
