#include "server/training/file_json.h"

json_t *file_json(const struct file_row *f)
{
    json_t *expires = f->expires_ms ? json_integer(f->expires_ms / 1000) : json_null();
    return json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:o, s:s, s:n, s:I, s:s+}", "id", f->id, "object",
                     "file", "filename", f->name, "purpose", f->purpose, "bytes", (json_int_t)f->bytes,
                     "created_at", (json_int_t)(f->created_ms / 1000), "expires_at", expires, "status",
                     "processed", "status_details", "examples", (json_int_t)f->examples, "digest",
                     "sha256:", f->blob);
}
