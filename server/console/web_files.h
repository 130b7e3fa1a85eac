/* The files of web/, compiled in by embed.sh with what gzip makes of each. Read-only. */
#pragma once
#include <stddef.h>

struct web_file {
    const char *name; /* "vendor/x.js" */
    const char *content_type;
    const char *etag; /* 16 hexadecimal digits of its SHA-256 */
    const char *text, *text_end;
    const char *gzip, *gzip_end;
};
extern const struct web_file web_files[];
extern const size_t web_files_count;
