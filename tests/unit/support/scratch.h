/* A folder of its own for a test, and files in it. */
#pragma once
#include <stddef.h>

/* A new empty folder; scratch_remove frees the text, too. */
char *scratch_new(void);
void scratch_remove(char *directory);
void scratch_write(const char *directory, const char *path, const void *data, size_t length);
/* Files (not folders) at and below directory/path. */
size_t scratch_count(const char *directory, const char *path);
/* Wait until there are so many: what another thread removes is gone a moment later. Fails after a minute. */
void scratch_wait_count(const char *directory, const char *path, size_t count);
