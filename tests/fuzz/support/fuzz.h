/* Fuzzing. Each NAME_fuzz.c hands bytes that somebody else chose to one of the readers, which may refuse them
 * but has to come to an end, stay within its memory and leave nothing behind. clang links it to libFuzzer,
 * any other compiler to support/driver.c, which knows the same options. Both call one function, from one
 * thread. */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* Always 0. The name is libFuzzer's. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* An open file of this content, the same one each time: at its beginning, not to be closed. */
int fuzz_file(const uint8_t *data, size_t size);
/* A folder of this process, removed when it exits. */
const char *fuzz_directory(void);
/* The file NAME in it has this content from now on. */
void fuzz_write(const char *name, const uint8_t *data, size_t size);
/* A copy that ends in NUL, for those who want text; to be freed. */
char *fuzz_text(const uint8_t *data, size_t size);

struct model;
/* A small base of the fixtures. */
const struct model *fuzz_base(void);

/* What must hold for any input, in every build. */
#define fuzz_check(condition)                                                             \
    do {                                                                                  \
        if (!(condition)) {                                                               \
            fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #condition); \
            abort();                                                                      \
        }                                                                                 \
    } while (0)
