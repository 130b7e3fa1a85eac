/* Versions for tests of the registry: small made-up files, told apart by a number. */
#pragma once
#include "adapters/registry/registry.h"

/* Both files and the digest depend on `content` alone. */
int sample_publish(struct registry *r, const char *tenant, const char *name, unsigned content, bool activate,
                   const struct version **out, bool *created, struct err *e);
/* The version's digest, in hexadecimal. */
void sample_digest(unsigned content, char out[SHA256_HEX + 1]);
/* 0 when the version's blobs hold what `content` says; checks every byte. */
int sample_check(struct registry *r, const struct version *v, unsigned content, struct err *e);
