/* POST /backup: the whole registry as one archive. Admins only. */
#include "adapters/maintenance/backup.h"
#include "server/http/download.h"
#include "server/routes/handlers.h"
#include "server/base/log.h"
#include "server/http/reply.h"

static int read_archive(void *arg, char *out, size_t max, size_t *count, struct err *e)
{
    return backup_read(arg, out, max, count, e);
}

static void close_archive(void *arg)
{
    backup_close(arg);
}

void route_backup_create(struct request *r)
{
    struct err e;
    struct backup *b;
    if (backup_open(&b, r->server->registry, &e) != 0) {
        reply_error(r, &e);
        return;
    }
    const struct backup_info *info = backup_info(b);
    log_message("info", "%s: a backup of %zu blobs, %llu bytes", r->id, info->blobs,
                (unsigned long long)info->bytes);
    if (info->left_out)
        log_message("warning", "%s: the files of %zu broken versions are not in the backup", r->id,
                    info->left_out);
    download_start(r, "application/x-tar",
                   &(struct download_source){.read = read_archive, .close = close_archive, .arg = b});
}
