/* Files and directories, with errors that name them. Any thread. */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/base/buf.h"
#include "core/base/err.h"

/* Append the whole file; a file over `limit` bytes is an error (code "file_too_large"), which appends
 * nothing. */
MUST_USE int file_read(const char *path, size_t limit, struct buf *out, struct err *e);
/* Read exactly `length` bytes at `offset`; the end of the file before that is an error. */
MUST_USE int file_pread(int fd, void *out, size_t length, uint64_t offset, struct err *e);
MUST_USE int file_write_all(int fd, const void *data, size_t length, struct err *e);
/* Write, fsync, rename into place, fsync the directory: after 0 the file is there whole, whatever happens
 * next. */
MUST_USE int file_replace(const char *path, const void *data, size_t length, mode_t mode, struct err *e);
MUST_USE int file_fsync_directory(const char *path, struct err *e);
/* Make the directory and its missing parents, mode 0700, each synced into its own parent. */
MUST_USE int file_make_directories(const char *path, struct err *e);
int file_exists(const char *path);
/* `directory/name` in new memory, to be freed; NULL when memory ran out. */
char *file_join(const char *directory, const char *name);
