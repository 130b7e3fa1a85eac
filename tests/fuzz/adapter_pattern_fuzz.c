/* A tenant's regular expressions (target_modules and others) over the paths of a base's modules. */
#include "adapters/peft/config/peft_pattern.h"

#include "tests/fuzz/support/fuzz.h"

static const char *const paths[] = {"model.layers.0.self_attn.q_proj",
                                    "model.layers.11.mlp.down_proj",
                                    "model.embed_tokens",
                                    "lm_head",
                                    "transformer.h.3.attn.c_attn",
                                    "aaaaaaaaaaaaaaaaaaaaaaaaaaaa",
                                    ""};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct peft_patterns shared;
    struct peft_pattern p;
    struct err e;
    char *text = fuzz_text(data, size);
    fuzz_check(peft_patterns_init(&shared, &e) == 0);
    for (int anchor = PEFT_FULL; anchor <= PEFT_START; anchor++) {
        if (peft_pattern_init(&p, &shared, "target_modules", "", text, "", anchor, &e) != 0)
            continue;
        for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
            if (peft_pattern_match(&p, paths[i], &e) < 0)
                break;
        peft_pattern_fini(&p);
    }
    peft_patterns_fini(&shared);
    free(text);
    return 0;
}
