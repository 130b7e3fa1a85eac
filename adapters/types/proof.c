#include "adapters/types/proof.h"

void proof_fini(struct version_proof *p)
{
    buf_fini(&p->norms_largest);
    buf_fini(&p->norms);
    buf_fini(&p->prompt);
    buf_fini(&p->base);
    buf_fini(&p->adapter);
    *p = (struct version_proof){0};
}
