/* Chat templates: what compiles is rendered for messages within its bounds. */
#include "core/template/template.h"

#include <string.h>

#include "core/base/utf8.h"
#include "tests/fuzz/support/fuzz.h"

static const char variables[] =
    "{\"messages\": [{\"role\": \"system\", \"content\": \"You are <b>kind</b>.\"},"
    " {\"role\": \"user\", \"content\": \"  Hello, \\u00fc\\n\"}, {\"role\": \"assistant\", \"content\": "
    "\"\"},"
    " {\"role\": \"user\", \"content\": \"x\"}],"
    " \"bos_token\": \"<s>\", \"eos_token\": \"</s>\", \"add_generation_prompt\": true, \"tools\": null,"
    " \"n\": -3, \"f\": 0.1, \"d\": {\"b\": [1, 2.5, null], \"a\": \"z\"}}";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static json_t *fixed;
    struct template *t;
    struct buf out = {0};
    struct err e;
    if (!fixed)
        fixed = json_loads(variables, 0, NULL);
    fuzz_check(fixed);
    if (template_new(&t, (const char *)data, size, &e) != 0) {
        fuzz_check(strcmp(e.code, "chat_template_unsupported") == 0);
        return 0;
    }
    if (template_render(t, fixed, NULL, &out, &e) == 0)
        fuzz_check(utf8_valid(out.data ? out.data : "", out.length));
    else
        fuzz_check(out.length == 0 &&
                   (!strcmp(e.code, "chat_refused") || !strcmp(e.code, "chat_template_failed")));
    buf_fini(&out);
    template_free(t);
    return 0;
}
