#include "core/grammar/choice.h"

#include "core/base/utf8.h"

int choice_grammar(struct grammar *g, const struct choice_text *texts, size_t count, struct err *e)
{
    struct grammar_list list = {0};
    int root = grammar_rule(g, "root", 4);
    if (count == 0 || count > CHOICE_TEXTS_MAX)
        return err_set(e, "choice_malformed", "there are %zu choices, expected 1 to %d", count,
                       CHOICE_TEXTS_MAX);
    for (size_t i = 0; i < count; i++)
        if (texts[i].length == 0 || !utf8_valid(texts[i].bytes, texts[i].length))
            return err_set(e, "choice_malformed", "choice %zu is %s", i,
                           texts[i].length == 0 ? "empty" : "not UTF-8");
    for (size_t i = 0; i < count; i++)
        grammar_list_add(g, &list, grammar_text(g, texts[i].bytes, texts[i].length));
    grammar_define(g, root, grammar_list_any(g, &list));
    return grammar_check(g, e);
}
