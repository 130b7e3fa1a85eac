/* Publishing in tests: small made-up files, told apart by a number. */
#pragma once
#include "adapters/registry.h"

/* Both files and the digest depend on `content` alone. */
int fixture_publish(struct registry *r, const char *tenant, const char *name, unsigned content, bool activate,
                    const struct version **out, bool *created, struct err *e);
/* The version's digest, in hexadecimal. */
void fixture_digest(unsigned content, char out[SHA256_HEX + 1]);
/* 0 when the version's blobs hold what `content` says; checks every byte. */
int fixture_check(struct registry *r, const struct version *v, unsigned content, struct err *e);
