/* /v1/files, in OpenAI's shape. Rows are read from the disk: job threads. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "adapters/files/files.h"
#include "core/system/clock.h"
#include "server/http/list.h"
#include "server/http/reply.h"
#include "server/training/file_json.h"
#include "server/training/handlers.h"
#include "server/transfer/blob_download.h"

/* ---- list ---- */

static json_t *list_files(const struct file_row *rows, size_t count, bool more)
{
    json_t *data = json_array();
    for (size_t i = 0; i < count; i++)
        list_add(&data, file_json(&rows[i]));
    return json_pack("{s:s, s:o, s:b, s:s?, s:s?}", "object", "list", "data", data, "has_more", more,
                     "first_id", count ? rows[0].id : NULL, "last_id", count ? rows[count - 1].id : NULL);
}

/* The cursor is the id of a file that is there. */
static int read_after(const struct request *r, int64_t *after, struct err *e)
{
    struct file_row row;
    const char *id = query_text(&r->query, "after");
    *after = 0;
    if (!id)
        return 0;
    if (files_find(r->server->registry, r->tenant.number, id, &row, e) != 0)
        return err_param(e, "after");
    *after = row.number;
    return 0;
}

static int list(struct request *r, struct file_row *rows, struct err *e)
{
    struct file_query q = {.purpose = query_text(&r->query, "purpose"),
                           .now_ms = clock_unix_ms(),
                           .newest_first = query_newest_first(&r->query, true),
                           .limit = r->query.limit};
    size_t count;
    bool more;
    if (request_tenant(r, NULL, e) != 0)
        return -1;
    q.tenant = r->tenant.number;
    if (read_after(r, &q.after, e) != 0 || files_list(r->server->registry, &q, rows, &count, &more, e) != 0)
        return -1;
    reply_json(r, 200, list_files(rows, count, more));
    return 0;
}

void route_training_files_list(struct request *r)
{
    struct err e;
    struct file_row *rows = calloc(r->query.limit, sizeof *rows);
    if (!rows)
        err_memory(&e);
    if (!rows || list(r, rows, &e) != 0)
        reply_error(r, &e);
    free(rows);
}

/* ---- one ---- */

void route_training_files_show(struct request *r)
{
    struct err e;
    struct file_row row;
    if (request_tenant(r, NULL, &e) != 0 ||
        files_find(r->server->registry, r->tenant.number, r->match.parameter[0], &row, &e) != 0)
        reply_error(r, &e);
    else
        reply_json(r, 200, file_json(&row));
}

void route_training_files_delete(struct request *r)
{
    struct err e;
    const char *id = r->match.parameter[0];
    if (request_tenant(r, NULL, &e) != 0 || files_delete(r->server->registry, r->tenant.number, id, &e) != 0)
        reply_error(r, &e);
    else
        reply_json(r, 200, json_pack("{s:s, s:s, s:b}", "id", id, "object", "file", "deleted", 1));
}

/* ---- content ---- */

static int send_content(struct request *r, struct err *e)
{
    int fd;
    struct file_row *row = malloc(sizeof *row);
    if (!row)
        return err_memory(e);
    if (request_tenant(r, NULL, e) != 0 ||
        files_open(r->server->registry, r->tenant.number, r->match.parameter[0], row, &fd, e) != 0) {
        free(row);
        return -1;
    }
    bool table = strcmp(row->purpose, FILE_PURPOSE_RESULTS) == 0;
    const struct blob_download d = {
        .fd = fd, .bytes = row->bytes, .digest = row->blob, .close = free, .arg = row};
    if (blob_download_start(r, table ? "text/csv" : "application/jsonl", &d, e) == 0)
        return 0;
    if (strcmp(e->code, "adapter_broken") == 0)
        err_set(e, "file_broken", "file \"%s\" is damaged on the disk: upload it again",
                r->match.parameter[0]);
    return -1;
}

void route_training_files_content(struct request *r)
{
    struct err e;
    if (send_content(r, &e) != 0)
        reply_error(r, &e);
}
