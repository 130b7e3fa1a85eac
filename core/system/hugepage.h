/* Large blocks of zeroed memory: mapped by themselves, in huge pages where the machine has them, and given
 * back to the system when freed. Any thread. */
#pragma once
#include <stddef.h>

void *hugepage_new(size_t bytes);          /* zeroed, aligned to 64 bytes; NULL when memory ran out */
void hugepage_free(void *p, size_t bytes); /* with the size that it was made with; NULL is fine */
