#include "adapters/types/usage.h"

const char *const usage_names[USAGE_KINDS] = {
    [USAGE_REQUESTS] = "requests",           [USAGE_ERRORS] = "errors",
    [USAGE_PROMPT_TOKENS] = "prompt_tokens", [USAGE_COMPLETION_TOKENS] = "completion_tokens",
    [USAGE_CACHED_TOKENS] = "cached_tokens", [USAGE_TRAINED_TOKENS] = "trained_tokens",
};
